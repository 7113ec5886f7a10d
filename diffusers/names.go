package diffusers

import (
	"fmt"

	"iddpm/model"
)

// kind is what a module is: its parameters are renamed together.
type kind int

const (
	plain     kind = iota // a convolution, linear layer, norm or embedding
	residual              // a residual block
	attention             // self-attention
)

// module is a part of the network, by both names.
type module struct {
	kind   kind
	ours   string
	theirs string
	heads  int // of attention
}

// modules lists the parts of a network.
func modules(u model.UNetConfig) (all []module) {
	add := func(k kind, heads int, ours, theirs string) { all = append(all, module{k, ours, theirs, heads}) }
	add(plain, 0, "time_embed.0", "time_embedding.linear_1")
	add(plain, 0, "time_embed.2", "time_embedding.linear_2")
	if u.NumClasses > 0 {
		add(plain, 0, "label_emb", "class_embedding")
	}
	levels, n := len(u.ChannelMult), 1
	add(plain, 0, "input_blocks.0.0", "conv_in")
	for level := range levels {
		down := fmt.Sprintf("down_blocks.%d", level)
		for i := range u.NumResBlocks {
			add(residual, 0, fmt.Sprintf("input_blocks.%d.0", n), fmt.Sprintf("%s.resnets.%d", down, i))
			if u.Attends(1 << level) {
				add(attention, u.Heads(u.Width(level), u.NumHeads), fmt.Sprintf("input_blocks.%d.1", n), fmt.Sprintf("%s.attentions.%d", down, i))
			}
			n++
		}
		switch {
		case level == levels-1: // the last level is not downsampled
		case u.ResBlockUpDown:
			add(residual, 0, fmt.Sprintf("input_blocks.%d.0", n), down+".downsamplers.0")
		default:
			add(plain, 0, fmt.Sprintf("input_blocks.%d.0.op", n), down+".downsamplers.0.conv")
		}
		n++
	}
	add(residual, 0, "middle_block.0", "mid_block.resnets.0")
	add(attention, u.Heads(u.Width(levels-1), u.NumHeads), "middle_block.1", "mid_block.attentions.0")
	add(residual, 0, "middle_block.2", "mid_block.resnets.1")
	return append(append(all, decoder(u)...), module{plain, "out.0", "conv_norm_out", 0}, module{plain, "out.2", "conv_out", 0})
}

func decoder(u model.UNetConfig) (all []module) {
	levels, n := len(u.ChannelMult), 0
	for level := levels - 1; level >= 0; level-- {
		up := fmt.Sprintf("up_blocks.%d", levels-1-level)
		for i := range u.NumResBlocks + 1 {
			at, layer := fmt.Sprintf("output_blocks.%d", n), 1
			all = append(all, module{residual, at + ".0", fmt.Sprintf("%s.resnets.%d", up, i), 0})
			if u.Attends(1 << level) {
				all = append(all, module{attention, at + ".1", fmt.Sprintf("%s.attentions.%d", up, i), u.Heads(u.Width(level), u.HeadsUpsample())})
				layer++
			}
			switch {
			case level == 0 || i < u.NumResBlocks:
			case u.ResBlockUpDown:
				all = append(all, module{residual, fmt.Sprintf("%s.%d", at, layer), up + ".upsamplers.0", 0})
			default:
				all = append(all, module{plain, fmt.Sprintf("%s.%d.conv", at, layer), up + ".upsamplers.0.conv", 0})
			}
			n++
		}
	}
	return all
}

// residualLayers are the layers of a residual block, ours and theirs.
var residualLayers = [][2]string{
	{"in_layers.0", "norm1"}, {"in_layers.2", "conv1"}, {"emb_layers.1", "time_emb_proj"},
	{"out_layers.0", "norm2"}, {"out_layers.3", "conv2"}, {"skip_connection", "conv_shortcut"},
}

// rename is a layer by its names.
type rename struct {
	ours, theirs string
	old          string // theirs before diffusers 0.15; "": the same
}

// layers returns the layers of m but queries, keys and values.
func (m module) layers() (all []rename) {
	switch m.kind {
	case residual:
		for _, pair := range residualLayers {
			all = append(all, rename{ours: m.ours + "." + pair[0], theirs: m.theirs + "." + pair[1]})
		}
		return all
	case attention:
		return []rename{
			{m.ours + ".norm", m.theirs + ".group_norm", m.theirs + ".norm"},
			{m.ours + ".proj_out", m.theirs + ".to_out.0", m.theirs + ".proj_attn"},
		}
	}
	return []rename{{ours: m.ours, theirs: m.theirs}}
}

// qkv returns queries, keys and values of attention, which are one layer here and three there.
func (m module) qkv() (all [3]rename) {
	for i, names := range [3][2]string{{"to_q", "query"}, {"to_k", "key"}, {"to_v", "value"}} {
		all[i] = rename{m.ours + ".qkv", m.theirs + "." + names[0], m.theirs + "." + names[1]}
	}
	return all
}
