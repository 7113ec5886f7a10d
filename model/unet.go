package model

import (
	"fmt"

	"github.com/wangkuiyi/gotorch"
)

// UNet is UNetModel of improved-diffusion and guided-diffusion, with the same blocks.
type UNet struct {
	config UNetConfig
	params []*Parameter

	timeEmbed    *timeEmbed
	labelEmb     *Parameter // [classes, 4 channels]; nil: not class-conditional
	inputBlocks  []block
	middleBlock  block
	outputBlocks []block
	outNorm      *norm
	outConv      *conv
}

// block is one entry of input_blocks, middle_block or output_blocks. The layers that are
// not nil run in the order of the fields.
type block struct {
	conv      *conv // the first convolution, or a downsampling
	res       *resBlock
	attention *attention
	up        *conv // upsampling
	res2      *resBlock

	skipChannels int64 // in the decoder: the number of res's input channels from the skip connection
}

// New builds the network on the CPU in float32, with the initial weights that the
// reference has after torch.manual_seed(seed).
func New(u UNetConfig, seed uint64) (*UNet, error) {
	if err := u.Validate(); err != nil {
		return nil, err
	}
	return build(u, gotorch.NewGenerator(gotorch.Device{}, seed)), nil
}

// Plan builds the network without tensors, for names, shapes and costs.
func Plan(u UNetConfig) (*UNet, error) {
	if err := u.Validate(); err != nil {
		return nil, err
	}
	return build(u, nil), nil
}

func build(u UNetConfig, generator *gotorch.Generator) *UNet {
	m := &UNet{config: u}
	b := builder{params: &m.params, generator: generator, dropouts: new(uint32)}
	m.timeEmbed = newTimeEmbed(b.at("time_embed"), u.ModelChannels)
	if u.NumClasses > 0 {
		normal := func(t gotorch.Tensor) { t.NormalI(0, 1, generator) }
		m.labelEmb = b.at("label_emb").param("weight", normal, int64(u.NumClasses), int64(4*u.ModelChannels))
	}
	channels := m.buildInput(b.at("input_blocks"))
	m.buildMiddle(b.at("middle_block"), channels[len(channels)-1])
	m.buildOutput(b.at("output_blocks"), channels)
	out := b.at("out")
	width := u.width(0)
	m.outNorm = newNorm(out.at("0"), width)
	m.outConv = newConv(out.at("2"), width, u.OutChannels, 3, 1, true)
	m.outConv.weight.autocast, m.outConv.bias.autocast = false, false // float32, as in the reference
	return m
}

// buildInput builds the encoder and returns the number of channels of each block's skip
// connection.
func (m *UNet) buildInput(b builder) (channels []int) {
	u := m.config
	ch := u.stemWidth()
	add := func(bl block) {
		m.inputBlocks = append(m.inputBlocks, bl)
		channels = append(channels, ch)
	}
	next := func() builder { return b.at(fmt.Sprint(len(m.inputBlocks))) }
	add(block{conv: newConv(next().at("0"), u.inputWidth(), ch, 3, 1, false)})
	for level := range u.ChannelMult {
		for range u.NumResBlocks {
			at := next()
			bl := block{res: newResBlock(at.at("0"), ch, u.width(level), keepSize, u)}
			ch = u.width(level)
			if u.attends(1 << level) {
				bl.attention = newAttention(at.at("1"), ch, u.NumHeads, u)
			}
			add(bl)
		}
		switch at := next().at("0"); {
		case level == len(u.ChannelMult)-1: // the last level is not downsampled
		case u.ResBlockUpDown:
			add(block{res: newResBlock(at, ch, ch, halveSize, u)})
		default:
			add(block{conv: newDownsample(at, ch)})
		}
	}
	return channels
}

func (m *UNet) buildMiddle(b builder, ch int) {
	m.middleBlock = block{
		res:       newResBlock(b.at("0"), ch, ch, keepSize, m.config),
		attention: newAttention(b.at("1"), ch, m.config.NumHeads, m.config),
		res2:      newResBlock(b.at("2"), ch, ch, keepSize, m.config),
	}
}

// buildOutput builds the decoder, whose blocks concatenate their input with the skip
// connection.
func (m *UNet) buildOutput(b builder, channels []int) {
	u := m.config
	ch := channels[len(channels)-1]
	for level := len(u.ChannelMult) - 1; level >= 0; level-- {
		for i := range u.NumResBlocks + 1 {
			at := b.at(fmt.Sprint(len(m.outputBlocks)))
			last := len(channels) - 1
			bl := block{res: newResBlock(at.at("0"), ch+channels[last], u.width(level), keepSize, u), skipChannels: int64(channels[last])}
			channels = channels[:last]
			ch = u.width(level)
			layer := 1
			if u.attends(1 << level) {
				bl.attention = newAttention(at.at("1"), ch, u.headsUpsample(), u)
				layer++
			}
			switch at := at.at(fmt.Sprint(layer)); {
			case level == 0 || i < u.NumResBlocks: // only a level's last block is upsampled
			case u.ResBlockUpDown:
				bl.res2 = newResBlock(at, ch, ch, doubleSize, u)
			default:
				bl.up = newUpsample(at, ch)
			}
			m.outputBlocks = append(m.outputBlocks, bl)
		}
	}
}
