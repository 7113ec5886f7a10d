// Package evaluate compares sets of images by what the Inception network sees
// in them, as the paper does: FID (Heusel et al. 2017), sFID (Nash et al. 2021),
// Inception Score (Salimans et al. 2016), and precision and recall (Kynkäänniemi
// et al. 2019).
//
// The network is that of 2015 by which FID is defined, with the weights that
// pytorch-fid and torch-fidelity have converted from TensorFlow (pt_inception-2015-12-05-6726825d.pth).
// Images are resized as TensorFlow 1 does it, and all else is done as
// openai/guided-diffusion's evaluator.py does it, whose numbers the literature
// quotes, but that distances are float32 here and may be float16 there:
//
//	images -> Inception.Features -> Set.Add -> Set.Pool, Set.Spatial -> FrechetDistance
//	                                             Set.Features          -> InceptionScore, PrecisionRecall
package evaluate
