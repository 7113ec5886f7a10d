// Package evaluate compares sets of images by their Inception features, as in the paper:
// FID (Heusel et al. 2017), sFID (Nash et al. 2021), Inception Score (Salimans et al.
// 2016), KID (Bińkowski et al. 2018), and precision and recall (Kynkäänniemi et al. 2019).
//
// The network is the one of 2015 that defines FID, with the weights that pytorch-fid and
// torch-fidelity have converted from TensorFlow (pt_inception-2015-12-05-6726825d.pth).
// Images are resized as in TensorFlow 1. Everything else follows openai/guided-diffusion's
// evaluator.py, whose numbers the literature quotes, except that distances are float32
// here and may be float16 there:
//
//	images -> Inception.Features -> Set.Add -> Set.Pool, Set.Spatial -> FrechetDistance
//	                                             Set.Features          -> InceptionScore, PrecisionRecall, KernelInceptionDistance
package evaluate
