// report: one page, and one metrics.json, from what training and `eval world` left behind.

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <limits>

#include "io/file.h"
#include "io/json.h"
#include "io/json_lines.h"
#include "io/report.h"
#include "io/text.h"
#include "train/commands/command.h"

namespace dr::cli {

namespace {

using nlohmann::json;

struct ReportOptions {
  Common common;
  std::string world, kitti, tokenizer, world_training, title = "A driving world model";
  std::vector<std::string> logs, seconds;
};

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
constexpr int kGap = 4;  // between the pictures of a sheet
constexpr double kRoom = 740;  // pixels of the page beside the rows' names

// ---- reading ----

double number(const json& j, const std::string& key) {
  return j.is_object() && j.contains(key) && j[key].is_number() ? j[key].get<double>() : kNone;
}
std::vector<double> numbers(const json& j, const std::string& key) {
  std::vector<double> list;
  if (j.is_object() && j.contains(key) && j[key].is_array())
    for (const json& v : j[key]) list.push_back(v.is_number() ? v.get<double>() : kNone);
  return list;
}
std::string text(double v, int digits) { return std::isfinite(v) ? format("{:.{}f}", v, digits) : "-"; }

json read_evaluation(const std::string& folder) {
  const std::string path = folder + "/eval_world.json";
  json j = read_json(path);
  CHECK(j.is_object() && j.contains("next_frame_psnr_db"), "{}: not what `eval world --out` writes", path);
  return j;
}

// A sheet of pictures cut at its gaps, with the names of its rows and columns.
Filmstrip read_strip(const std::string& folder, const json& strip, std::string caption) {
  const auto names = [&](const char* key) {
    std::vector<std::string> list;
    CHECK(strip.is_object() && strip.contains(key) && strip[key].is_array() && !strip[key].empty(),
          "{}: a strip has no {}", folder, key);
    for (const json& v : strip[key]) list.push_back(v.is_string() ? v.get<std::string>() : "");
    return list;
  };
  CHECK(strip.contains("file") && strip["file"].is_string(), "{}: a strip has no file", folder);
  const std::filesystem::path name(strip["file"].get<std::string>());
  const std::string path = (std::filesystem::path(folder) / name.filename()).string();
  const Image sheet = read_image(path);
  const std::vector<std::string> rows = names("rows");
  Filmstrip film{std::move(caption), names("heads"), {}};
  const int columns = int(film.heads.size()), width = (sheet.width + kGap) / columns - kGap,
            height = (sheet.height + kGap) / int(rows.size()) - kGap;
  CHECK(width > 0 && height > 0 && (width + kGap) * columns == sheet.width + kGap &&
            (height + kGap) * int(rows.size()) == sheet.height + kGap,
        "{}: {} x {} pixels are no {} rows of {} pictures", path, sheet.width, sheet.height, rows.size(), columns);
  for (size_t r = 0; r < rows.size(); r++) {
    film.rows.push_back({rows[r], {}});
    for (int c = 0; c < columns; c++) {
      Image one{width, height, 3, {}};
      for (int y = 0; y < height; y++) {
        const auto from =
            sheet.pixels.begin() + ((int(r) * (height + kGap) + y) * int64_t{sheet.width} + c * (width + kGap)) * 3;
        one.pixels.insert(one.pixels.end(), from, from + width * 3);
      }
      film.rows.back().frames.push_back(std::move(one));
    }
  }
  film.zoom = std::clamp(kRoom / (double(columns) * (width + kGap)), 0.25, 2.0);
  return film;
}

// ---- the page ----

Series steps_of(std::string name, const std::vector<double>& y) {
  Series s{std::move(name), {}, y};
  for (size_t i = 0; i < y.size(); i++) s.x.push_back(0.2 * double(i + 1));
  return s;
}

void add_strip(Report& report, const std::string& folder, const json& e, const char* name, const std::string& caption) {
  if (e.contains("strips") && e["strips"].contains(name))
    report.filmstrip(read_strip(folder, e["strips"][name], caption));
}

void add_evaluation(Report& report, const std::string& folder, const json& e) {
  const bool lpips = e.contains("next_frame_lpips");
  report.paragraph(
      format("{} frames of {} logs that the model was not trained on, each generated from {} true frames before it and "
             "anchors that begin {:.1f} s behind it. Forecast, where there is one: the last true frame, moved by the "
             "vehicle's motion over a level road, which the model begins from. Held: the last true frame again. "
             "Tokenizer: the true frame, through its latents and back, which no prediction of latents can be expected to "
             "beat.",
             number(e, "samples"), number(e, "logs"), number(e, "context_frames"),
             0.2 * number(e, "first_anchor_after_frames")));
  ReportTable table{"The next frame, means over frames", "lrrr", {"", "PSNR, dB", "SSIM", lpips ? "LPIPS" : ""}, {}};
  const auto row = [&](const std::string& name, const std::string& prefix, const std::string& suffix) {
    if (!std::isfinite(number(e, prefix + "psnr_db" + suffix))) return;
    table.rows.push_back({name, text(number(e, prefix + "psnr_db" + suffix), 2),
                          text(number(e, prefix + "ssim" + suffix), 3),
                          lpips ? text(number(e, prefix + "lpips" + suffix), 3) : ""});
  };
  const double temperature = number(e, "temperature");
  row(temperature == 0 ? "generated at temperature 0" : "generated", "next_frame_", "");
  if (temperature != 0) row("generated at temperature 0", "next_frame_", "_at_temperature_0");
  row("its forecast alone", "forecast_", "");
  row("last frame held", "copy_last_", "");
  row("tokenizer alone", "tokenizer_", "");
  report.table(table);
  add_strip(report, folder, e, "next_frame", "The next frame");

  const std::vector<double> made = numbers(e, "sequential_psnr_db");
  if (made.empty()) return;
  report.subheading("Rollouts");
  report.paragraph(
      format("{} rollouts that see their own frames from the first one on; the vehicle goes where the log's went.",
             number(e, "rollouts")));
  std::vector<Series> curves = {steps_of("generated", made),
                                steps_of("last true frame held", numbers(e, "copy_last_sequential_psnr_db"))};
  if (temperature != 0)
    curves.push_back(steps_of("generated at temperature 0", numbers(e, "sequential_psnr_db_at_temperature_0")));
  curves.push_back(steps_of("forecasts alone", numbers(e, "forecast_sequential_psnr_db")));
  curves.push_back(steps_of("tokenizer alone", numbers(e, "tokenizer_sequential_psnr_db")));
  std::erase_if(curves, [](const Series& s) { return s.y.empty(); });
  report.curves({"PSNR over a rollout", "time since the last true frame, s", "dB", curves});
  add_strip(report, folder, e, "sequential", "One rollout");
  if (std::isfinite(number(e, "speed_mae_mps")))
    report.table({"Motion that the pose network reads in the frames, mean absolute error", "lrr",
                  {"", "speed, m/s", "yaw rate, rad/s"},
                  {{"generated frames", text(number(e, "speed_mae_mps"), 2), text(number(e, "yaw_rate_mae_rad_s"), 4)},
                   {"true frames", text(number(e, "true_frames_speed_mae_mps"), 2),
                    text(number(e, "true_frames_yaw_rate_mae_rad_s"), 4)}}});
}

void add_deviation(Report& report, const std::string& folder, const json& e) {
  if (!std::isfinite(number(e, "measured_left_m"))) return;
  const double commanded = number(e, "commanded_m");
  report.heading("Where it is told to go");
  report.paragraph(
      format("{} rollouts are told poses that leave the log's by {:.1f} m to a side over five seconds and stay there "
             "for one more, until the last anchor's time. No log shows what they must show, but the anchors show the road "
             "that they end on. A pose network reads the place in the lane in the last five frames, against the same "
             "rollout along the log; in true renders of such a displacement it reads {:.2f} m for a metre.",
             number(e, "deviations"), commanded, number(e, "pose_net_slope_on_true_renders")));
  report.table({"Metres to the right", "lrrr", {"", "told", "read", "read in the five frames before the first anchor's time"},
                {{"left", text(-commanded, 2), text(number(e, "measured_left_m"), 2),
                  text(number(e, "measured_left_before_anchors_m"), 2)},
                 {"right", text(commanded, 2), text(number(e, "measured_right_m"), 2),
                  text(number(e, "measured_right_before_anchors_m"), 2)}}});
  const auto curve = [&](const std::string& name, const char* key) { return steps_of(name, numbers(e, key)); };
  std::vector<Series> curves = {
      curve("told, right", "deviation_commanded_right_m"), curve("read, right", "deviation_measured_right_m"),
      curve("told, left", "deviation_commanded_left_m"), curve("read, left", "deviation_measured_left_m")};
  if (!curves[1].y.empty())
    report.curves({"Lateral offset against the rollout along the log, mean", "time, s", "m right", curves});
  add_strip(report, folder, e, "deviation", "One of them");
}

// The loss of a log of training: as logged, and its running mean.
void add_training(Report& report, const std::string& path) {
  const std::vector<json> lines = read_json_lines(path);
  std::string kind = std::filesystem::path(path).stem().stem().string();
  Series noisy{"loss", {}, {}, true}, mean{"running mean", {}, {}};
  double smooth = kNone, seconds = kNone;
  for (const json& line : lines) {
    if (line.contains("kind") && line["kind"].is_string()) kind = line["kind"].get<std::string>();
    const double loss = number(line, "loss");
    if (!std::isfinite(loss)) continue;
    smooth = std::isfinite(smooth) ? 0.9 * smooth + 0.1 * loss : loss;
    seconds = number(line, "seconds");
    for (Series* s : {&noisy, &mean}) s->x.push_back(number(line, "step"));
    noisy.y.push_back(loss), mean.y.push_back(smooth);
  }
  if (mean.x.empty()) return;
  report.curves({format("Training of the {}: {:.0f} steps in {:.0f} s", shown(kind), mean.x.back(), seconds),
                 "step",
                 "loss",
                 {noisy, mean},
                 true});
}

Report page(const ReportOptions& o, const json& world, const json& kitti) {
  Report report(o.title, world.is_object()
                             ? format("{:.2f} million parameters, weights {}", number(world, "parameters") / 1e6,
                                      shown(world.value("weights_hash", std::string("-"))).substr(0, 12))
                             : "");
  if (world.is_object()) {
    report.heading("What comes next");
    add_evaluation(report, o.world, world);
    add_deviation(report, o.world, world);
  }
  if (kitti.is_object()) {
    report.heading("KITTI");
    add_evaluation(report, o.kitti, kitti);
  }
  if (!o.logs.empty()) report.heading("Training");
  for (const std::string& log : o.logs) add_training(report, log);
  return report;
}

// ---- metrics.json ----

json merged(const ReportOptions& o, const json& world, const json& kitti) {
  json m = json::object();
  if (!o.tokenizer.empty()) {
    const json t = read_json(o.tokenizer);
    m["tokenizer"] = {{"psnr_db", t.value("psnr_db", json())}, {"ssim", t.value("ssim", json())}};
    m["weights_hash"]["tokenizer"] = t.value("tokenizer_hash", json());
    if (t.contains("seconds")) m["seconds"]["tokenizer"] = t["seconds"];
  }
  if (!o.world_training.empty()) {
    const json t = read_json(o.world_training);
    m["weights_hash"]["world"] = t.value("weights_hash", json());
    if (t.contains("seconds")) m["seconds"]["world"] = t["seconds"];
  }
  if (world.is_object()) {
    m["world"] = world;
    if (!m["weights_hash"].contains("world")) m["weights_hash"]["world"] = world.value("weights_hash", json());
    m["seconds"]["eval"] = world.value("seconds", json());
  }
  if (kitti.is_object()) m["kitti"] = kitti;
  for (const std::string& pair : o.seconds) {
    const size_t equals = pair.find('=');
    double v = 0;
    const char* from = pair.data() + equals + 1;
    CHECK(equals != pair.npos && equals > 0 &&
              std::from_chars(from, pair.data() + pair.size(), v).ptr == pair.data() + pair.size() && std::isfinite(v),
          "--seconds '{}': accepted: NAME=NUMBER", shown(pair));
    m["seconds"][pair.substr(0, equals)] = v;
  }
  return m;
}

int report(const ReportOptions& o) {
  CHECK(!o.world.empty() || !o.kitti.empty() || !o.logs.empty(),
        "report: nothing to report; accepted: --world, --kitti or --log");
  const json world = o.world.empty() ? json() : read_evaluation(o.world),
             kitti = o.kitti.empty() ? json() : read_evaluation(o.kitti);
  const std::string folder = o.common.out.empty() ? "out/report" : o.common.out;
  const Report made = page(o, world, kitti);
  const json metrics = merged(o, world, kitti);
  create_folder(folder);
  made.write(folder + "/report.html");
  write_file(folder + "/metrics.json", metrics.dump(1) + "\n");
  if (!o.common.json.empty()) write_file(o.common.json, metrics.dump(1) + "\n");
  if (!o.common.quiet) std::printf("%s/report.html, %s/metrics.json\n", folder.c_str(), folder.c_str());
  return kDone;
}

}  // namespace

void add_report(Command& app, Body& body) {
  auto options = std::make_shared<ReportOptions>();
  Command command =
      app.add_subcommand("report", "one page and one metrics.json from what training and eval left behind");
  add_common(command, options->common);
  command.add_option("--world", options->world, "folder that `eval world --out` wrote");
  command.add_option("--kitti", options->kitti, "the same of a model of KITTI's frames");
  command.add_option("--tokenizer-json", options->tokenizer, "JSON of `train tokenizer`");
  command.add_option("--world-json", options->world_training, "JSON of `train world`");
  command.add_option("--log", options->logs, "logs of training (*.log.jsonl)");
  command.add_option("--seconds", options->seconds, "NAME=SECONDS of other parts: build, data, sample, total");
  command.add_option("--title", options->title, "of the page").show_default();
  command.callback([options, &body] { body = [options] { return report(*options); }; });
}

}  // namespace dr::cli
