#pragma once
// LPIPS, learned perceptual image patch similarity: how far apart two images are to a network that recognises things.
//
//   x' = (x - shift) / scale                          per channel of the image
//   f_l = the trunk's features behind the last relu of its slice l = 0 .. 4, of f_(l-1) or x'
//   u_l = f_l / (|f_l| + 1e-10)                       |.| over the channels of a pixel
//   d = sum_l mean over pixels of sum_c lin_l[c] (u_l(a)[c] - u_l(b)[c])^2
//
//   a, b (N,H,W,3) f32 in [-1,1]    d (N) f32
// The trunk is AlexNet's or VGG16's as the weights are: net.slice1.0.weight is (64,3,11,11) or (64,3,3,3). Images have
// at least 31 x 31 pixels for AlexNet, 16 x 16 for VGG16. Differentiable in a and b.
// Rounding: each op's own. Two rewritings change d by no more than that: x' = x (1/scale) + (-shift/scale); and
//   u_l = f_l / sqrt(|f_l|^2 + 1e-20) by RmsNorm, which is 1e-10/|f_l| away in relative terms. distance(a, a) is +0.
//
// Weights, named as in the state_dict of the lpips package (its net is torchvision's `features` cut into slices):
//   net.slice<1..5>.<i>.weight (O,I,KH,KW), net.slice<1..5>.<i>.bias (O)
//     AlexNet: i = 0 | 3 | 6 | 8 | 10       VGG16: i = 0, 2 | 5, 7 | 10, 12, 14 | 17, 19, 21 | 24, 26, 28
//   lin<0..4>.model.1.weight (1,C,1,1)
// Source: Zhang et al. 2018, arXiv:1801.03924; version 0.1 of github.com/richzhang/PerceptualSimilarity.

#include <functional>
#include <optional>

#include "kernels/conv2d/conv2d.h"
#include "kernels/max_pool2d/max_pool2d.h"
#include "runtime/tape.h"

namespace dr {

class Lpips {
 public:
  // The f32 tensor of that name, absent where there is none.
  using Find = std::function<Tensor(const std::string& name)>;

  // Takes what it needs. Throws, naming the tensor, where one is missing or has another shape; `where` is named too.
  Lpips(Runtime& runtime, const Find& find, const std::string& where = "lpips");

  Tensor distance(Tape& tape, const Tensor& a, const Tensor& b) const;

  std::string_view trunk() const;  // "alex" or "vgg", as the lpips package calls them

 private:
  struct Trunk;  // what a network is made of
  static const Trunk kAlex, kVgg;

  struct Layer {
    Conv2d op;
    Tensor weight, bias;
  };
  struct Slice {
    std::optional<MaxPool2d> pool;  // before the layers
    std::vector<Layer> layers;      // each ends in a relu
    Tensor lin, minus_one;          // (1,C), divided by C; (C)
  };

  const Trunk* trunk_;
  Tensor image_scale_, image_shift_;  // (3,1,1,1), (3)
  std::vector<Slice> slices_;
};

}  // namespace dr
