package main

import (
	"iddpm/diffusion"
	"iddpm/internal/cli"
)

// fewSteps is the number of timesteps of samplers for few steps where the user does not choose, and the least
// of the default one. iddpm bench few-steps measures what is lost.
const fewSteps = 20

// stepsByDefault returns the number of timesteps of a sampler for few steps where the user does not
// choose. One that adds noise needs some more.
func stepsByDefault(s diffusion.Sampler) int {
	if s.Deterministic(0) {
		return fewSteps
	}
	return 25
}

// samplerOptions are the flags that choose a sampler and its timesteps, for a first network or for one
// that upsamples.
type samplerOptions struct {
	prefix  string // of the flags
	name    string // --sampler; "": by the other flags
	steps   int    // --sampling-steps; 0: by the sampler
	spacing string // --spacing; "": by the sampler
	ddim    bool   // --use-ddim
	eta     float64
}

func (o *samplerOptions) options() []cli.Option {
	if o.prefix != "" {
		return []cli.Option{
			{Name: o.prefix + "sampler", Category: cli.CategorySampling, Value: &o.name, Standard: "as for --sampler", Usage: "sampler `NAME` of the upsampler"},
			{Name: o.prefix + "sampling-steps", Category: cli.CategorySampling, Value: &o.steps, Usage: "timesteps `K` of the upsampler, as for --sampling-steps"},
			{Name: o.prefix + "spacing", Category: cli.CategorySampling, Value: &o.spacing, Standard: "by sampler", Usage: "spacing `NAME` of the upsampler's timesteps, as for --spacing"},
			{Name: o.prefix + "use-ddim", Category: cli.CategorySampling, Value: &o.ddim, Usage: "use the DDIM sampler for the upsampler"},
			{Name: o.prefix + "eta", Category: cli.CategorySampling, Value: &o.eta, Usage: "DDIM's `ETA` of the upsampler, as for --eta"},
		}
	}
	return []cli.Option{
		{Name: "sampler", Category: cli.CategorySampling, Value: &o.name, Standard: "dpmpp-2m-sde, below 20 steps dpmpp-2m, or with improved-diffusion's flags ddpm",
			Usage: "sampler `NAME`: ddpm (ancestral), ddim, dpmpp-2m, dpmpp-2m-sde or heun; the last three need few steps"},
		{Name: "sampling-steps", Category: cli.CategorySampling, Value: &o.steps,
			Usage: "sample in at most `K` timesteps (0: 20 with the samplers for few steps, 25 with dpmpp-2m-sde, else all)"},
		{Name: "spacing", Category: cli.CategorySampling, Value: &o.spacing, Standard: "trimmed with dpmpp-2m and dpmpp-2m-sde, logsnr with heun, else t",
			Usage: "spread the --sampling-steps evenly in `NAME`: t, logsnr (where it changes fast, there may be fewer), or trimmed (logsnr without the noisiest part)"},
		{Name: "use-ddim", Category: cli.CategorySampling, Value: &o.ddim, Usage: "use the DDIM sampler: --sampler ddim"},
		{Name: "eta", Category: cli.CategorySampling, Value: &o.eta, Usage: "DDIM's `ETA`: 0 deterministic, 1 as much noise as ancestral sampling"},
	}
}

// none reports whether no flag is given.
func (o samplerOptions) none() bool { return o == samplerOptions{prefix: o.prefix} }

func (o samplerOptions) validate() error {
	p := o.prefix
	if o.name != "" {
		if _, err := diffusion.ParseSampler(o.name); err != nil {
			return cli.Errorf("--%ssampler: %w", p, err)
		}
	}
	if o.spacing != "" {
		if _, err := diffusion.ParseSpacing(o.spacing); err != nil {
			return cli.Errorf("--%sspacing: %w", p, err)
		}
	}
	ddim := diffusion.DDIM.String()
	switch {
	case o.ddim && o.name != "" && o.name != ddim:
		return cli.Errorf("--%suse-ddim and --%ssampler %s name two samplers: omit one", p, p, o.name)
	case o.steps < 0 || o.steps == 1:
		return cli.Errorf("--%ssampling-steps must be 2 or more, not %d", p, o.steps)
	case !(o.eta >= 0 && o.eta <= 1):
		return cli.Errorf("--%seta must be in [0, 1], not %g", p, o.eta)
	case o.eta > 0 && !o.ddim && o.name != ddim:
		return cli.Errorf("--%seta is an option of DDIM: add --%suse-ddim", p, p)
	}
	return nil
}

// samplerChoice is the sampler of a command with its timesteps.
type samplerChoice struct {
	sampler   diffusion.Sampler
	eta       float64
	respacing string // of the timesteps
	ours      bool   // the user has chosen neither a sampler nor timesteps
}

// samplerRequest is what a choice depends on besides the flags of samplerOptions.
type samplerRequest struct {
	numTimesteps  int    // of the process
	respacing     string // --timestep-respacing, or that of the checkpoint
	respaced      bool   // --timestep-respacing is given
	reference     bool   // improved-diffusion's flags or weights: they mean what they mean there
	deterministic bool   // no noise may be added
	ddim          bool   // only DDIM does
}

// choose returns the sampler and the timesteps. Without flags it is SDE-DPM-Solver++(2M) in few steps,
// unless the process has few itself; with those of improved-diffusion it is as there.
func (o samplerOptions) choose(r samplerRequest) (c samplerChoice, err error) {
	p := o.prefix
	if r.respaced && (o.steps != 0 || o.spacing != "") {
		return c, cli.Errorf("--%stimestep-respacing and --%ssampling-steps or --%sspacing both choose the timesteps: omit one", p, p, p)
	}
	c = samplerChoice{sampler: o.sampler(r), eta: o.eta, respacing: r.respacing}
	c.ours = o.none() && c.sampler.Spacing() != diffusion.EvenT
	switch {
	case r.ddim && c.sampler != diffusion.DDIM:
		return c, cli.Errorf("--invert needs DDIM, not --%ssampler %s", p, c.sampler)
	case r.deterministic && !c.sampler.Deterministic(o.eta):
		return c, cli.Errorf("--latents and --interpolate need a sampler without noise: add --use-ddim, and no --eta, or --sampler dpmpp-2m or heun")
	}
	steps, spacing := o.steps, c.sampler.Spacing()
	if o.spacing != "" {
		if spacing, err = diffusion.ParseSpacing(o.spacing); err != nil {
			return c, err
		}
	}
	if steps == 0 && spacing != diffusion.EvenT && r.respacing == "" {
		steps = stepsByDefault(c.sampler)
	}
	if steps > 0 {
		c.respacing = spacing.Respacing(steps, r.numTimesteps)
	}
	return c, nil
}

// sampler returns the sampler that the flags name, or else the default: in few steps one that adds noise,
// which corrects the errors of a network that has not learned enough. Samplers without noise leave
// speckles then, in any number of steps (docs/study.md).
func (o samplerOptions) sampler(r samplerRequest) diffusion.Sampler {
	few := r.numTimesteps > 2*fewSteps && !r.reference && r.respacing == "" || o.steps > 0 || o.spacing != ""
	switch s, err := diffusion.ParseSampler(o.name); {
	case err == nil:
		return s
	case o.ddim || r.ddim:
		return diffusion.DDIM
	case few && (r.deterministic || 0 < o.steps && o.steps < fewSteps):
		return diffusion.DPMPP2M
	case few:
		return diffusion.DPMPP2MSDE
	case r.deterministic && !r.reference && r.respacing == "":
		return diffusion.DDIM
	}
	return diffusion.Ancestral
}
