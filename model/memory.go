package model

// Activations estimates how many values the backward pass needs of one
// picture's forward pass: the inputs of norms, convolutions and products.
// With gradient checkpointing it needs the blocks' inputs, and all of one block at
// a time.
func (m *UNet) Activations(imageSize int, checkpointing bool) int64 {
	var whole, leaves, largest int64
	m.each(imageSize, func(bl block, side int64) {
		all, input := bl.activations(side * side)
		whole += all
		leaves += input
		largest = max(largest, all)
	})
	whole += m.outConv.weight.Shape[1] * int64(imageSize) * int64(imageSize) // the last norm
	if checkpointing {
		return leaves + largest
	}
	return whole
}

// activations returns the values kept within a block, and those of its layers'
// inputs alone, but for what is another block's input already.
func (bl block) activations(pixels int64) (whole, inputs int64) {
	add := func(layer, input int64) {
		whole += layer * pixels
		inputs += input * pixels
	}
	if bl.conv != nil {
		in := bl.conv.weight.Shape[1]
		add(in, in)
	}
	add(0, -bl.kept)
	for _, r := range []*resBlock{bl.res, bl.res2} {
		if r != nil {
			in, out := r.inConv.weight.Shape[1], r.outConv.weight.Shape[0]
			add(2*in+2*out, in)
		}
	}
	if bl.attention != nil { // its weights, pixels squared, are stored on the CPU alone, where pixels are few
		c := bl.attention.proj.in
		add(7*c, c)
	}
	if bl.up != nil {
		c := bl.up.conv.weight.Shape[1]
		add(4*c, c)
	}
	return whole, inputs
}
