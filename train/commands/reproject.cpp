// reproject: the frames of a log as a camera elsewhere would have seen them, and how far that is from the truth where
// the log has the true image too.

#include <charconv>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <limits>

#include "io/file.h"
#include "io/report.h"
#include "io/sheet.h"
#include "io/text.h"
#include "io/video.h"
#include "kernels/float_to_image/float_to_image.h"
#include "kernels/harness/bench.h"
#include "kernels/image_to_float/image_to_float.h"
#include "kernels/mul/mul.h"
#include "kernels/ssim/ssim.h"
#include "runtime/tape.h"
#include "sim/geometry.h"
#include "sim/reprojection/reprojection.h"
#include "train/commands/command.h"
#include "train/commands/inspect.h"

namespace dr::cli {

namespace {

using sim::Difference;
using sim::Reprojector;

struct ReprojectOptions {
  Common common;
  std::string log, to = "next", frames;
  bool mp4 = false;
};

// ---- what is asked for ----

// Whether `text` is one number and nothing else.
template <class T>
bool read_number(std::string_view text, T& to) {
  if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), to);
  return error == std::errc() && end == text.data() + text.size();
}

constexpr std::string_view kAcceptedTo =
    "next (the next frame's pose), right (the log's right camera), or an offset such as y=0.5 or x=1,yaw=-3: x, y, z "
    "in metres forward, right, down, yaw in degrees to the right";

struct Target {
  enum class Kind { next, right, offset } kind = Kind::next;
  Pose offset;  // of the vehicle
  std::string words;

  bool has_truth() const { return kind != Kind::offset; }
};

Target parse_target(const std::string& text) {
  if (text == "next") return {Target::Kind::next, {}, "the next frame's pose"};
  if (text == "right") return {Target::Kind::right, {}, "the right camera"};
  Vec3 at{};
  double yaw_deg = 0;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size()), equals = std::min(text.find('=', begin), end);
    const std::string_view key = std::string_view(text).substr(begin, equals - begin);
    double* to = key == "x" ? &at[0] : key == "y" ? &at[1] : key == "z" ? &at[2] : key == "yaw" ? &yaw_deg : nullptr;
    const bool read =
        to && equals < end && read_number(std::string_view(text).substr(equals + 1, end - equals - 1), *to);
    CHECK(read && std::isfinite(*to), "--to '{}' names no camera; accepted: {}", shown(text), kAcceptedTo);
    begin = end + 1;
  }
  return {Target::Kind::offset, pose_of_euler(at, {0, 0, yaw_deg * sim::kPi / 180}), "a camera at " + text};
}

// From the first to before the second, of "N" or "A:B" or nothing, within `available` frames.
std::pair<int64_t, int64_t> parse_frames(const std::string& text, int64_t available) {
  int64_t first = 0, last = available;
  const size_t colon = text.find(':'), from = colon == text.npos ? 0 : colon + 1;
  const bool read =
      text.empty() || ((colon == text.npos || read_number(std::string_view(text).substr(0, colon), first)) &&
                       read_number(std::string_view(text).substr(from), last));
  CHECK(read && first >= 0 && first < last && last <= available,
        "--frames '{}' names no frames; accepted: N or A:B (from A to before B) within the {} that can be reprojected",
        shown(text), available);
  return {first, last};
}

// ---- one frame ----

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
constexpr Difference kNoTruth{kNone, kNone};

struct Measured {
  double time_s = 0;
  Difference unwarped = kNoTruth, sampled = kNoTruth, rendered = kNoTruth, picture = kNoTruth;
  double coverage = 0, holes = 0, ssim = kNone;  // holes and ssim: of the picture
};

struct Stage {
  std::string name;
  Image image;
};

constexpr int kGain = 3;  // of differences that are shown

Image amplified_difference(const Image& a, const Image& b) {
  Image d{a.width, a.height, 3, std::vector<uint8_t>(a.pixels.size())};
  for (size_t i = 0; i < d.pixels.size(); i++)
    d.pixels[i] = uint8_t(std::max(0, 255 - kGain * std::abs(int(a.pixels[i]) - int(b.pixels[i]))));
  return d;
}

class Reprojection {
 public:
  Reprojection(Runtime& runtime, const DrivingLog& log, const Target& target)
      : runtime_(runtime), log_(checked(log, target)), target_(target), reprojector_(runtime, log.camera) {}

  // Frames from the first on that have a new camera: those before a next one, or with a right image, or all.
  int64_t available() const {
    if (target_.kind == Target::Kind::right) return log_.right_frames.view.size(0);
    return std::max<int64_t>(0, log_.frame_count() - (target_.kind == Target::Kind::next));
  }
  bool has_depth(int64_t i) const {
    const View d = log_.depth.view.slice(0, i, 1);
    return std::any_of(d.as<float>(), d.as<float>() + d.count(), [](float metres) { return metres > 0; });
  }

  // Of the camera's housing. Throws where it is out of range.
  Pose motion(int64_t i) const {
    Pose m;
    if (target_.kind == Target::Kind::right) {
      const Vec3& t = log_.right_from_left;  // x right, y down, z forward
      m.at = {-t[2], -t[0], -t[1]};
    } else {
      const Pose from = log_.pose_at(log_.frame_times_s[size_t(i)]);
      const Pose to =
          target_.kind == Target::Kind::next ? log_.pose_at(log_.frame_times_s[size_t(i + 1)]) : from * target_.offset;
      m = relative(from * log_.camera.mount, to * log_.camera.mount);
    }
    const double metres = std::sqrt(m.at[0] * m.at[0] + m.at[1] * m.at[1] + m.at[2] * m.at[2]);
    CHECK(metres < sim::kReprojectionRangeM,
          "{}: the new camera of frame {} is {:.2f} m away; accepted: less than {} m", log_.where, i, metres,
          sim::kReprojectionRangeM);
    return m;
  }

  // Pictures of every stage are made where `stages` is given.
  Measured measure(int64_t i, std::vector<Stage>* stages) {
    const Tensor frame = image(log_.frames.view.slice(0, i, 1));
    const View metres = log_.depth.view.slice(0, i, 1);
    const Tensor depth = Tensor::from(runtime_.arena(),
                                      std::span<const float>(metres.as<float>(), size_t(metres.count())), metres.sizes);
    const Tensor truth = target_.kind == Target::Kind::next    ? image(log_.frames.view.slice(0, i + 1, 1))
                         : target_.kind == Target::Kind::right ? image(log_.right_frames.view.slice(0, i, 1))
                                                               : Tensor();
    const Pose m = motion(i);
    // The same points everywhere: those that the other view holds.
    const Reprojector::Warp sampled = reprojector_.sampled(truth ? truth : frame, depth, m);
    const Reprojector::Warp rendered = reprojector_.splatted(frame, evaluate(runtime_, Mul{}, depth, sampled.mask), m);
    const Reprojector::Picture picture =
        reprojector_.pictured(frame, sim::without_gaps(runtime_, depth, log_.kind == "built-in"), m);

    Measured r;
    r.time_s = log_.frame_times_s[size_t(i)];
    const Tensor everywhere = runtime_.ones(DType::f32, metres.sizes);
    r.coverage = sim::coverage(runtime_, rendered.mask);
    r.holes = 1 - sim::coverage(runtime_, picture.warp.mask);
    if (truth) {
      r.unwarped = sim::difference(runtime_, truth, frame, sampled.mask);
      r.sampled = sim::difference(runtime_, sampled.image, frame, sampled.mask);
      r.rendered = sim::difference(runtime_, rendered.image, truth, rendered.mask);
      r.picture = sim::difference(runtime_, picture.filled, truth, everywhere);
      if (std::min(log_.camera.width, log_.camera.height) >= Ssim::kWindow)
        r.ssim = double(evaluate(runtime_, Ssim{}, picture.filled, truth).floats()[0]);
    }
    if (stages) {
      *stages = {{"recorded", bytes(frame)},
                 {"splatted", bytes(rendered)},
                 {"warped", bytes(picture.warp)},
                 {"inpainted", bytes(picture.filled)}};
      if (truth) {
        stages->push_back({"true", bytes(truth)});
        stages->push_back(
            {format("difference x {}", kGain), amplified_difference((*stages)[3].image, (*stages)[4].image)});
      }
    }
    return r;
  }

 private:
  static const DrivingLog& checked(const DrivingLog& log, const Target& target) {
    CHECK(log.frames, "{}: the log has no images, which reproject needs", log.where);
    CHECK(log.depth, "{}: the log has no depth, which reproject needs", log.where);
    CHECK(target.kind != Target::Kind::right || log.right_frames,
          "{}: the log has no right camera; accepted: --to next or an offset", log.where);
    return log;
  }
  Tensor image(const View& v) const {
    const std::span<const uint8_t> host(v.as<uint8_t>(), size_t(v.count()));
    return evaluate(runtime_, ImageToFloat{}, Tensor::from(runtime_.arena(), host, v.sizes));
  }
  Image bytes(const Tensor& t) const {
    return {int(t.size(2)), int(t.size(1)), 3, evaluate(runtime_, FloatToImage{}, t).to_vector<uint8_t>()};
  }
  // Black where the mask is 0.
  Image bytes(const Reprojector::Warp& warp) const {
    Image b = bytes(warp.image);
    const std::vector<float> mask = warp.mask.floats();
    for (size_t i = 0; i < b.pixels.size(); i++)
      if (mask[i / 3] == 0) b.pixels[i] = 0;
    return b;
  }

  Runtime& runtime_;
  const DrivingLog& log_;
  const Target& target_;
  Reprojector reprojector_;
};

// ---- all of them ----

// Means over the frames that have a figure; NaN where none has.
struct Figures {
  double unwarped, sampled, rendered, picture;  // mean absolute errors in levels
  double psnr_db, picture_psnr_db, ssim, coverage, holes;

  explicit Figures(const std::vector<Measured>& frames) {
    auto mean = [&](auto&& figure) {
      double sum = 0, n = 0;
      for (const Measured& m : frames)
        if (const double v = figure(m); std::isfinite(v)) sum += v, n++;
      return sum / n;
    };
    unwarped = mean([](const Measured& m) { return m.unwarped.mean_abs; });
    sampled = mean([](const Measured& m) { return m.sampled.mean_abs; });
    rendered = mean([](const Measured& m) { return m.rendered.mean_abs; });
    picture = mean([](const Measured& m) { return m.picture.mean_abs; });
    psnr_db = sim::psnr_db(mean([](const Measured& m) { return m.rendered.mean_square; }));
    picture_psnr_db = sim::psnr_db(mean([](const Measured& m) { return m.picture.mean_square; }));
    ssim = mean([](const Measured& m) { return m.ssim; });
    coverage = mean([](const Measured& m) { return m.coverage; });
    holes = mean([](const Measured& m) { return m.holes; });
  }

  std::string without_truth() const {
    return format(
        "Splatted pixels cover {:.1f} % of the new view; {:.1f} % of the picture is inpainted.\n"
        "There is no true image from there, so no error.",
        100 * coverage, 100 * holes);
  }
  std::vector<std::vector<std::string>> rows() const {
    auto text = [](double v, int digits) { return std::isnan(v) ? "-" : format("{:.{}f}", v, digits); };
    return {{"unwarped, at pixels with depth", text(unwarped, 2), "", ""},
            {"sampled, at pixels with depth", text(sampled, 2), "", ""},
            {format("rendered, on {:.1f} % of the pixels", 100 * coverage), text(rendered, 2), text(psnr_db, 1), ""},
            {format("picture, {:.1f} % of it inpainted", 100 * holes), text(picture, 2), text(picture_psnr_db, 1),
             text(ssim, 3)}};
  }
};
const std::vector<std::string> kColumns{"", "mean error", "PSNR, dB", "SSIM"};

struct Example {
  double time_s;
  std::vector<Stage> stages;
};

Report report_of(const DrivingLog& log, const Target& target, const std::vector<Measured>& frames,
                 const Figures& figures, const std::vector<Example>& examples) {
  const std::string name = std::filesystem::path(log.where).filename().string();
  Report report("Reprojection of " + shown(name),
                format("{} frames of {} x {} pixels ({} log), seen from {}", frames.size(), log.camera.width,
                       log.camera.height, log.kind, target.words));
  report.heading("Pictures");
  std::string legend =
      "Recorded: the log's frame. Splatted: its pixels with depth, each moved to where the new camera sees it. Warped: "
      "the same from depth without gaps, read back from the frame. Inpainted: its holes filled from around them.";
  if (target.has_truth())
    legend += format(" True: what was seen from there. Difference: white is none, {} times amplified.", kGain);
  report.paragraph(legend);
  Filmstrip strip;
  for (const Stage& s : examples[0].stages) strip.rows.push_back({s.name, {}});
  for (const Example& e : examples) {
    strip.heads.push_back(format("{:.1f} s", e.time_s));
    for (size_t i = 0; i < strip.rows.size(); i++) strip.rows[i].frames.push_back(e.stages[i].image);
  }
  // As many columns as leave the frames about their own size.
  storyboard(report, std::move(strip), std::clamp<size_t>(size_t(740. / log.camera.width + 0.25), 1, 4));

  report.heading("Figures");
  auto curve = [&](std::string what, auto&& figure) {
    Series s{std::move(what), {}, {}};
    for (const Measured& m : frames) s.x.push_back(m.time_s), s.y.push_back(figure(m));
    return s;
  };
  if (target.has_truth()) {
    report.table({"Means over frames; errors are absolute, in levels of 0 to 255", "lrrr", kColumns, figures.rows()});
    report.curves({"Mean absolute error",
                   "time, s",
                   "levels",
                   {curve("picture", [](const Measured& m) { return m.picture.mean_abs; }),
                    curve("unwarped", [](const Measured& m) { return m.unwarped.mean_abs; }),
                    curve("sampled", [](const Measured& m) { return m.sampled.mean_abs; }),
                    curve("rendered", [](const Measured& m) { return m.rendered.mean_abs; })}});
  } else {
    report.paragraph(figures.without_truth());
  }
  const Series holes = curve("", [](const Measured& m) { return 100 * m.holes; });
  report.curves({"Share of the picture that is inpainted", "time, s", "%", {holes}});

  report.heading("What it cannot do");
  report.paragraph(
      "The scene stands still: whoever moves is drawn where they were. What the frame did not see is made up of what "
      "surrounds it. Reflections and exposure stay those of the frame. Depth between a LiDAR's points, and above them, "
      "is interpolated. A policy could learn to read these marks instead of the road.");
  return report;
}

// Every stage a row, of up to three frames.
Image strip_of(const std::vector<Example>& examples) {
  std::vector<Image> sheet;
  const size_t columns = std::min<size_t>(3, examples.size());
  for (size_t i = 0; i < examples[0].stages.size(); i++)
    for (size_t k = 0; k < columns; k++) sheet.push_back(examples[k * examples.size() / columns].stages[i].image);
  return contact_sheet(sheet, int(columns));
}

// Frame and picture above truth and difference, or else the stages: two by two with gaps, so that both sides are even.
Image video_frame(const std::vector<Stage>& stages) {
  const bool truth = stages.size() > 4;
  std::vector<Image> four;
  for (size_t i : {0, truth ? 3 : 1, truth ? 4 : 2, truth ? 5 : 3}) four.push_back(stages[i].image);
  return contact_sheet(four, 2);
}

// What needs a true image is null without one: JSON has no NaN.
nlohmann::json json_of(const DrivingLog& log, const std::string& to, size_t frames, const Figures& f, double seconds) {
  return {{"log", shown(log.where, 1000)},
          {"kind", log.kind},
          {"to", to},
          {"frames", frames},
          {"mean_abs_error", f.sampled},
          {"unwarped_mean_abs_error", f.unwarped},
          {"rendered_mean_abs_error", f.rendered},
          {"coverage", f.coverage},
          {"psnr_db", f.psnr_db},
          {"picture_mean_abs_error", f.picture},
          {"picture_psnr_db", f.picture_psnr_db},
          {"ssim", f.ssim},
          {"hole_fraction", f.holes},
          {"seconds", seconds}};
}

int reproject(const ReprojectOptions& o) {
  const Common& c = o.common;
  CHECK(!o.mp4 || !c.out.empty(), "--mp4 needs --out DIR, the folder for its video");
  const Target target = parse_target(o.to);
  Runtime runtime(c.runtime());
  const DrivingLog log = open_log(o.log);
  Reprojection reprojection(runtime, log, target);
  const auto [first, last] = parse_frames(o.frames, reprojection.available());
  std::vector<int64_t> chosen;
  for (int64_t i = first; i < last; i++) {
    reprojection.motion(i);
    if (reprojection.has_depth(i)) chosen.push_back(i);
  }
  CHECK(!chosen.empty(), "{}: none of the {} frames has depth", log.where, last - first);

  // Whatever cannot be written is told before the work.
  if (!c.out.empty()) create_folder(c.out);
  std::optional<AtomicFile> json, page;
  if (!c.json.empty()) json.emplace(c.json);
  if (!c.out.empty()) page.emplace(c.out + "/report.html");
  std::optional<VideoWriter> video;
  if (o.mp4) {
    const double span_s = log.frame_times_s[size_t(chosen.back())] - log.frame_times_s[size_t(chosen[0])];
    const double frames_per_s = span_s > 0 ? double(chosen.size() - 1) / span_s : 5;
    const CameraModel& k = log.camera;
    video.emplace(c.out + "/reproject.mp4", 2 * k.width + 4, 2 * k.height + 4, frames_per_s);
  }
  if (!c.ledger.empty()) runtime.ledger = std::make_unique<LedgerWriter>(c.ledger);
  if (c.profile) runtime.profiler.emplace();

  const auto start = std::chrono::steady_clock::now();
  std::vector<Measured> frames;
  std::vector<Example> examples;
  const size_t wanted = std::min<size_t>(6, chosen.size());
  for (size_t k = 0; k < chosen.size(); k++) {
    const bool example =
        !c.out.empty() && examples.size() < wanted && k == (2 * examples.size() + 1) * chosen.size() / (2 * wanted);
    std::vector<Stage> stages;
    if (runtime.ledger) runtime.ledger->begin_step(chosen[k]);
    frames.push_back(reprojection.measure(chosen[k], example || video ? &stages : nullptr));
    if (runtime.ledger) runtime.ledger->end_step();
    if (video) video->add(video_frame(stages));
    if (example) examples.push_back({frames.back().time_s, std::move(stages)});
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

  const Figures f(frames);
  std::printf("%s: %zu frames of %d x %d seen from %s\n", shown(log.where, 500).c_str(), frames.size(),
              log.camera.width, log.camera.height, target.words.c_str());
  if (target.has_truth()) {
    std::vector<std::vector<std::string>> rows{kColumns};
    for (auto& row : f.rows()) rows.push_back(std::move(row));
    std::printf("%s", aligned(rows, "lrrr").c_str());
  } else {
    std::printf("%s\n", f.without_truth().c_str());
  }
  if (const int64_t without = last - first - int64_t(chosen.size()))
    std::printf("%lld frames have no depth and were left out\n", static_cast<long long>(without));
  if (runtime.ledger) runtime.ledger->close();
  if (c.profile) {
    ThreadPool pool(c.threads);
    std::printf("%s", runtime.profiler->table(harness::measure_peaks(runtime.context().backend, pool)).c_str());
    if (!c.out.empty()) write_file(c.out + "/trace.json", runtime.profiler->chrome_trace());
  }
  if (video) video->finish();
  if (page) {
    write_png(c.out + "/strip.png", strip_of(examples));
    page->write(report_of(log, target, frames, f, examples).html());
    page->commit();
  }
  if (!c.quiet)
    std::printf("%.1f s, %.0f frames/s%s\n", seconds, double(frames.size()) / seconds,
                page ? format("; {}/report.html", c.out).c_str() : "");
  if (json) {
    json->write(json_of(log, o.to, frames.size(), f, seconds).dump(1) + "\n");
    json->commit();
  }
  return kDone;
}

}  // namespace

void add_reproject(Command& app, Body& body) {
  auto options = std::make_shared<ReprojectOptions>();
  Command command = app.add_subcommand(
      "reproject", "a log's frames as a camera elsewhere would have seen them, and how true that is");
  add_common(command, options->common);
  command.add_option("--log", options->log, "segment file, or folder in KITTI's layout; with depth").required();
  command.add_option("--to", options->to, std::string(kAcceptedTo)).show_default();
  command.add_option("--frames", options->frames, "N or A:B, from A to before B (default: all that can be)");
  command.add_flag("--mp4", options->mp4, "with --out: also a video, reproject.mp4");
  command.callback([options, &body] { body = [options] { return reproject(*options); }; });
}

}  // namespace dr::cli
