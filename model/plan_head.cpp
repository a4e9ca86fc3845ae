#include "model/plan_head.h"

#include "kernels/add/add.h"
#include "kernels/layernorm/layernorm.h"
#include "kernels/linear/linear.h"
#include "kernels/linear_gelu/linear_gelu.h"
#include "kernels/reduce/reduce.h"

namespace dr {

namespace {

constexpr int kBlocks = 4;

}  // namespace

double plan_time_s(int64_t point) { return 10.0 * double(point) * double(point) / (32.0 * 32.0); }

const std::vector<float>& plan_scale() {
  static const std::vector<float> scale = [] {
    std::vector<float> s;
    for (int64_t i = 0; i < kPlanPoints; i++) {
      const double t = plan_time_s(i);
      const double ahead = 1 + 10 * t, aside = 0.5 + t, up = 0.2 + 0.2 * t, turned = 0.05 + 0.1 * t;
      for (double v : {ahead, aside, up, 10.0, 2.0, 0.5, 2.0, 2.0, 1.0, turned, turned, turned, 0.2, 0.2, 0.2})
        s.push_back(float(v));
    }
    return s;
  }();
  return scale;
}

PlanHead::PlanHead(Parameters& p, const std::string& name, int64_t channels, int64_t hypotheses)
    : channels_(channels), hypotheses_(hypotheses) {
  const auto layer = [&](const std::string& part, int64_t out, int64_t in, Init init) {
    return Layer{p.add(part + ".weight", {out, in}, init), p.add(part + ".bias", {out}, Init::zeros())};
  };
  for (int i = 0; i < kBlocks; i++) {
    const std::string block = format("{}.blocks.{}", name, i);
    blocks_.push_back({{p.add(block + ".norm.weight", {channels}, Init::ones()),
                        p.add(block + ".norm.bias", {channels}, Init::zeros())},
                       layer(block + ".up", 2 * channels, channels, Init::normal(0.02f)),
                       layer(block + ".down", channels, 2 * channels, Init::normal(0.02f))});
  }
  mean_ = layer(name + ".mean", hypotheses * kPlanSize, channels, Init::normal(0.02f));
  log_scale_ = layer(name + ".log_scale", hypotheses * kPlanSize, channels, Init::normal(0.02f));
  logits_ = layer(name + ".logits", hypotheses, channels, Init::normal(0.02f));
}

Plans PlanHead::apply(Tape& tape, const Tensor& tokens) const {
  CHECK(tokens.rank() == 3 && tokens.size(2) == channels_, "plan head: tokens must be (R,S,{}), got {}", channels_,
        to_string(tokens.view()));
  const int64_t rows = tokens.size(0);
  Tensor f = tape.reshape(tape.apply(Reduce{.kind = ReduceKind::mean, .axis = 1}, tokens), {rows, channels_});
  for (const Residual& b : blocks_) {
    const Tensor n = tape.apply(LayerNorm{}, f, b.norm.weight, b.norm.bias);
    const Tensor a = tape.apply(LinearGelu{}, n, b.up.weight, b.up.bias);
    f = tape.apply(Add{}, f, tape.apply(Linear{}, a, b.down.weight, b.down.bias));
  }
  const auto guesses = [&](const Layer& l) {
    return tape.reshape(tape.apply(Linear{}, f, l.weight, l.bias), {rows, hypotheses_, kPlanSize});
  };
  return {guesses(mean_), guesses(log_scale_), tape.apply(Linear{}, f, logits_.weight, logits_.bias)};
}

}  // namespace dr
