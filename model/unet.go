package model

import (
	"fmt"

	"github.com/wangkuiyi/gotorch"
)

// UNet is UNetModel of improved-diffusion and guided-diffusion, with the same blocks.
type UNet struct {
	encoder
	labelEmb     *Parameter // [classes, 4 channels]; nil: not class-conditional
	outputBlocks []block
	outNorm      *norm
	outConv      *conv
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

// Plan builds the network that c describes without tensors. The error lists every problem of c.
func (c Config) Plan() (*UNet, error) {
	u, err := c.UNet()
	if err != nil {
		return nil, err
	}
	return Plan(u)
}

func build(u UNetConfig, generator *gotorch.Generator) *UNet {
	m := &UNet{encoder: encoder{config: u}}
	b := m.builder(generator)
	m.timeEmbed = newTimeEmbed(b.at("time_embed"), u)
	if u.NumClasses > 0 {
		normal := func(t gotorch.Tensor) { t.NormalI(0, 1, generator) }
		m.labelEmb = b.at("label_emb").param("weight", normal, int64(u.NumClasses), int64(4*u.ModelChannels))
	}
	channels := m.buildInput(b.at("input_blocks"))
	m.buildMiddle(b.at("middle_block"), channels[len(channels)-1])
	m.buildOutput(b.at("output_blocks"), channels)
	out := b.at("out")
	width := u.Width(0)
	m.outNorm = newNorm(out.at("0"), width)
	m.outConv = newConv(out.at("2"), width, u.OutChannels, 3, 1, true)
	m.outConv.weight.autocast, m.outConv.bias.autocast = false, false // float32, as in the reference
	return m
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
			bl := block{res: newResBlock(at.at("0"), ch+channels[last], u.Width(level), keepSize, u), skipChannels: int64(channels[last])}
			channels = channels[:last]
			ch = u.Width(level)
			layer := 1
			if u.Attends(1 << level) {
				bl.attention = newAttention(at.at("1"), ch, u.HeadsUpsample(), u)
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

// String returns the network's size, such as "UNet of 121.1 M parameters".
func (m *UNet) String() string {
	return fmt.Sprintf("UNet of %.1f M parameters", float64(m.NumParameters())/1e6)
}
