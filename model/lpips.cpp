#include "model/lpips.h"

#include <algorithm>

#include "kernels/add/add.h"
#include "kernels/linear/linear.h"
#include "kernels/mul/mul.h"
#include "kernels/reduce/reduce.h"
#include "kernels/relu/relu.h"
#include "kernels/rms_norm/rms_norm.h"

namespace dr {

struct Lpips::Trunk {
  struct Layer {
    int index;  // among torchvision's `features`
    int64_t channels;
    int kernel = 3, stride = 1, padding = 1;
  };
  struct Slice {
    int pool;  // side of the windows that it begins with, 2 apart; 0: none
    std::vector<Layer> layers;
  };
  std::string_view name;
  int64_t smallest;  // side of an image of which every layer makes at least one pixel
  std::vector<Slice> slices;
};

const Lpips::Trunk Lpips::kAlex{"alex", 31, {{0, {{0, 64, 11, 4, 2}}},
                               {3, {{3, 192, 5, 1, 2}}},
                               {3, {{6, 384}}},
                               {0, {{8, 256}}},
                               {0, {{10, 256}}}}};
const Lpips::Trunk Lpips::kVgg{"vgg", 16, {{0, {{0, 64}, {2, 64}}},
                             {2, {{5, 128}, {7, 128}}},
                             {2, {{10, 256}, {12, 256}, {14, 256}}},
                             {2, {{17, 512}, {19, 512}, {21, 512}}},
                             {2, {{24, 512}, {26, 512}, {28, 512}}}}};

namespace {

// Of the images that the trunks were trained on, in [-1,1]: 2 mean - 1 and 2 deviation of red, green and blue.
constexpr float kShift[3] = {-.030f, -.088f, -.188f}, kScale[3] = {.458f, .448f, .450f};

// (O,I,KH,KW), as files hold it, to (O,KH,KW,I).
Tensor channels_last(const Runtime& runtime, const Tensor& weight) {
  const Sizes s = weight.sizes();
  const std::vector<float> from = weight.floats();
  std::vector<float> to(from.size());
  const int64_t places = s[2] * s[3];
  for (int64_t o = 0; o < s[0]; o++)
    for (int64_t i = 0; i < s[1]; i++)
      for (int64_t k = 0; k < places; k++)
        to[size_t((o * places + k) * s[1] + i)] = from[size_t((o * s[1] + i) * places + k)];
  return runtime.from(to, {s[0], s[2], s[3], s[1]});
}

}  // namespace

Lpips::Lpips(Runtime& runtime, const Find& find, const std::string& where) {
  const auto present = [&](const std::string& name) {
    const Tensor t = find(name);
    CHECK(t, "{}: there is no tensor {}", where, name);
    return t;
  };
  const auto take = [&](const std::string& name, const Sizes& sizes) {
    const Tensor t = present(name);
    CHECK(t.sizes() == sizes && t.dtype() == DType::f32, "{}: {} must be f32{} for {}, got {}", where, name,
          to_string(sizes), trunk_->name, to_string(t.view()));
    return t;
  };

  const std::string first = "net.slice1.0.weight";
  const Tensor begins = present(first);
  CHECK(begins.sizes() == Sizes({64, 3, 11, 11}) || begins.sizes() == Sizes({64, 3, 3, 3}),
        "{}: {} must be (64,3,11,11), AlexNet's, or (64,3,3,3), VGG16's, got {}", where, first,
        to_string(begins.view()));
  trunk_ = begins.size(2) == 11 ? &kAlex : &kVgg;

  int64_t channels = 3;
  for (const Trunk::Slice& s : trunk_->slices) {
    Slice slice;
    if (s.pool) slice.pool = MaxPool2d{.kernel = {s.pool, s.pool}, .stride = {2, 2}};
    for (const Trunk::Layer& l : s.layers) {
      const std::string name = format("net.slice{}.{}", slices_.size() + 1, l.index);
      const int p = l.padding;
      slice.layers.push_back(
          {Conv2d{.stride = {l.stride, l.stride}, .padding = {p, p, p, p}},
           channels_last(runtime, take(name + ".weight", {l.channels, channels, l.kernel, l.kernel})),
           take(name + ".bias", {l.channels})});
      channels = l.channels;
    }
    std::vector<float> lin = take(format("lin{}.model.1.weight", slices_.size()), {1, channels, 1, 1}).floats();
    for (float& w : lin) w /= float(channels);  // RmsNorm's u is sqrt(C) times the unit vector
    slice.lin = runtime.from(lin, {1, channels});
    slice.minus_one = runtime.from(std::vector<float>(size_t(channels), -1.f), {channels});
    slices_.push_back(std::move(slice));
  }

  std::vector<float> scale, shift;
  for (int c = 0; c < 3; c++) scale.push_back(1 / kScale[c]), shift.push_back(-kShift[c] / kScale[c]);
  image_scale_ = runtime.from(scale, {3, 1, 1, 1});
  image_shift_ = runtime.from(shift, {3});
}

std::string_view Lpips::trunk() const { return trunk_->name; }

Tensor Lpips::distance(Tape& tape, const Tensor& a, const Tensor& b) const {
  const int64_t smallest = trunk_->smallest;
  CHECK(a.rank() == 4 && a.size(3) == 3 && a.dtype() == DType::f32 && std::min(a.size(1), a.size(2)) >= smallest,
        "lpips: images must be f32(N,H,W,3) of at least {} x {} pixels for {}, got {}", smallest, smallest,
        trunk_->name, to_string(a.view()));
  CHECK(b.sizes() == a.sizes() && b.dtype() == a.dtype(), "lpips: the images are {} and {}; one shape is needed",
        to_string(a.view()), to_string(b.view()));

  const auto scaled = [&](const Tensor& x) { return tape.apply(Conv2d{.groups = 3}, x, image_scale_, image_shift_); };
  const auto features = [&](const Slice& slice, Tensor x) {
    if (slice.pool) x = tape.apply(*slice.pool, x);
    for (const Layer& l : slice.layers) x = tape.apply(Relu{}, tape.apply(l.op, x, l.weight, l.bias));
    return x;
  };
  const auto pixels = [&](const Tensor& f) { return tape.reshape(f, {f.count() / f.size(3), f.size(3)}); };

  Tensor fa = scaled(a), fb = scaled(b), sum;
  for (const Slice& slice : slices_) {
    fa = features(slice, fa), fb = features(slice, fb);
    const RmsNorm unit{.eps = 1e-20f / float(fa.size(3))};
    const Tensor difference = tape.apply(Add{}, tape.apply(unit, pixels(fa), Tensor()),
                                         tape.apply(unit, pixels(fb), slice.minus_one));
    const Tensor score = tape.apply(Linear{}, tape.apply(Mul{}, difference, difference), slice.lin, Tensor());
    const Tensor mean = tape.apply(Reduce{ReduceKind::mean}, tape.reshape(score, {a.size(0), fa.size(1) * fa.size(2)}));
    sum = sum ? tape.apply(Add{}, sum, mean) : mean;
  }
  return tape.reshape(sum, {a.size(0)});
}

}  // namespace dr
