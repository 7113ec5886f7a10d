// Package diffusers writes and reads networks in the format of Hugging Face's library diffusers: a
// folder with a UNet2DModel, its scheduler and a model card, which stock
// DDPMPipeline.from_pretrained loads.
//
// UNet2DModel computes what the UNet of improved-diffusion and guided-diffusion does, with parameters
// of other names. Files: names.go maps names, attention.go the rows of queries, keys and values,
// timesteps.go the timestep embedding, unet.go and scheduler.go the configurations, write.go,
// read.go, shards.go and parse.go the folders, and card.go the model card.
package diffusers
