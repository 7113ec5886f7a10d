package diffusers

import (
	"bytes"
	"fmt"
	"strings"

	"iddpm/diffusion"
	"iddpm/model"
)

// Card is what the model card says beside the configuration. Empty fields are said to be unknown.
type Card struct {
	Name    string   // of the model
	Data    string   // name of the training images
	Steps   int      // optimizer steps
	Weights string   // which weights: "EMA 0.9999"
	Metrics []string // "held-out bits/dim: 3.21 at step 1000"
	License string   // identifier, as Hugging Face's hub spells it: "mit"
	Classes []string // names by label
	Samples []byte   // a PNG; nil: none
}

// text returns the README.md.
func (c Card) text(m model.Config, d diffusion.Config, s schedulerConfig) []byte {
	var b bytes.Buffer
	line := func(format string, a ...any) { fmt.Fprintf(&b, format+"\n", a...) }
	line("---\nlibrary_name: diffusers\npipeline_tag: unconditional-image-generation\ntags:\n- diffusers\n- ddpm\n- iddpm")
	if c.License != "" {
		line("license: %s", singleLine(c.License))
	}
	line("---\n\n# %s\n", singleLine(or(c.Name, "A diffusion model")))
	line("A denoising diffusion model of images of %d x %d pixels, trained with iddpm and exported for diffusers.\n", m.ImageSize, m.ImageSize)
	if c.Samples != nil {
		line("![samples](%s)\n", samplesFile)
	}
	line("| | |\n| --- | --- |")
	row := func(name, value string) {
		line("| %s | %s |", name, strings.ReplaceAll(singleLine(or(value, "not recorded")), "|", "\\|"))
	}
	row("training data", c.Data)
	row("optimizer steps", fmt.Sprint(c.Steps))
	row("weights", c.Weights)
	row("diffusion", fmt.Sprintf("%d timesteps, %s noise schedule, predicts %s, variance %s", d.Steps, d.NoiseSchedule, s.PredictionType, or(s.VarianceType, "none")))
	row("metrics", strings.Join(c.Metrics, "; "))
	row("licence", or(c.License, "not stated: state one before you publish, that of the training data permitting"))
	line("\n## Use\n\n```python")
	b.WriteString(c.example(m, s))
	line("```")
	if m.ClassCond {
		line("\nThe network needs a class for each image: %d classes%s. Stock pipelines pass none.", m.NumClasses, c.named())
		if m.HasNullClass() {
			line("Class %d is the null class, for classifier-free guidance.", m.NumClasses)
		}
	}
	if d.LearnSigma {
		line("\nThe output has twice as many channels as an image: the prediction, and the variance that DDPMScheduler interpolates (learned_range).")
	}
	return b.Bytes()
}

// example is Python that samples an image.
func (c Card) example(m model.Config, s schedulerConfig) string {
	pipeline := newIndex(s.Class).Class
	if !m.ClassCond {
		return fmt.Sprintf("from diffusers import %[1]s\n\npipeline = %[1]s.from_pretrained(\"PATH\")\npipeline(batch_size=4).images[0].save(\"sample.png\")\n", pipeline)
	}
	return fmt.Sprintf(`import torch
from diffusers import %[1]s

pipeline = %[1]s.from_pretrained("PATH")
labels = torch.tensor([0, 0, 0, 0])
x = torch.randn(4, %[2]d, %[3]d, %[3]d)
pipeline.scheduler.set_timesteps(250)
with torch.no_grad():
    for t in pipeline.scheduler.timesteps:
        x = pipeline.scheduler.step(pipeline.unet(x, t, class_labels=labels).sample, t, x).prev_sample
pipeline.numpy_to_pil((x / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy())[0].save("sample.png")
`, pipeline, m.InChannels, m.ImageSize)
}

// shownClasses is the number of class names in a card.
const shownClasses = 20

func (c Card) named() string {
	if len(c.Classes) == 0 {
		return ""
	}
	names := singleLine(strings.Join(c.Classes[:min(len(c.Classes), shownClasses)], ", "))
	if len(c.Classes) > shownClasses {
		names += ", ..."
	}
	return " (from 0: " + names + ")"
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// singleLine keeps text that comes from files within its line.
func singleLine(text string) string { return strings.Join(strings.Fields(text), " ") }
