#include "train/checkpoint.h"

#include <charconv>

#include "io/json.h"
#include "io/nearest.h"

namespace dr {

namespace {

constexpr const char* kFormat = "dreamroad checkpoint 1";

std::string hash_text(Runtime& runtime, const std::string& name, const Tensor& t) {
  Digest d;
  d.add(name.data(), name.size());
  for (int i = 0; i < t.rank(); i++) d.add_value(t.size(i));
  const TensorHash h = runtime.hash(t);
  d.add_value(h.low), d.add_value(h.high);
  return to_hex(d.high(), d.low());
}

std::string digest_of(const Metadata& metadata) {
  Digest d;
  for (const auto& [key, text] : metadata)
    if (key != "digest") d.add(key.data(), key.size() + 1), d.add(text.data(), text.size() + 1);
  return to_hex(d.high(), d.low());
}

}  // namespace

void write_checkpoint(Runtime& runtime, const std::string& path, const CheckpointNotes& notes,
                      const std::vector<NamedTensor>& tensors) {
  nlohmann::json hashes = nlohmann::json::object();
  std::vector<NamedView> views;
  for (const NamedTensor& t : tensors) {
    hashes[t.name] = hash_text(runtime, t.name, t.value);
    views.push_back({t.name, t.value.view()});
  }
  Metadata metadata = {{"format", kFormat},
                       {"hashes", hashes.dump()},
                       {"kind", notes.kind},
                       {"settings", notes.settings.dump()},
                       {"step", std::to_string(notes.step)}};  // in the order of names, which readers may sort into
  metadata.emplace_back("digest", digest_of(metadata));
  write_safetensors(path, views, metadata);
}

Checkpoint::Checkpoint(const std::string& path, std::string_view kind) : path_(path), file_(path) {
  auto text = [&](const char* key) -> const std::string& {
    for (const auto& [name, value] : file_.metadata())
      if (name == key) return value;
    throw Error(format("{}: no checkpoint of dreamroad: its metadata has no '{}'", path, key));
  };
  CHECK(text("format") == kFormat, "{}: its format is '{}'; accepted: '{}'", path, text("format"), kFormat);
  Metadata sorted = file_.metadata();
  std::sort(sorted.begin(), sorted.end());
  CHECK(digest_of(sorted) == text("digest"), "{}: damaged: its metadata differ from their digest", path);
  notes_.kind = text("kind");
  CHECK(notes_.kind == kind, "{}: a checkpoint of kind '{}'; '{}' is needed here", path, notes_.kind, kind);
  notes_.settings = parse_json(text("settings"), path + ": settings");
  hashes_ = parse_json(text("hashes"), path + ": hashes");
  const std::string& step = text("step");
  const auto [end, error] = std::from_chars(step.data(), step.data() + step.size(), notes_.step);
  CHECK(error == std::errc() && end == step.data() + step.size() && notes_.step >= 0, "{}: step '{}' is no count", path, step);
  for (const StoredArray& a : file_.arrays())
    CHECK(hashes_.contains(a.name), "{}: tensor '{}' has no hash", path, a.name);
}

void Checkpoint::load(Runtime& runtime, const std::string& name, const Tensor& to) const {
  const StoredArray& stored = file_.at(name);
  CHECK(stored.sizes() == to.sizes(), "{}: tensor '{}' has shape {}, {} is needed", path_, name, shape_text(stored.shape),
        to_string(to.sizes()));
  stored.copy_to(to.view());
  CHECK(hash_text(runtime, name, to) == hashes_.at(name), "{}: tensor '{}' is damaged: its bits differ from its hash", path_,
        name);
}

bool Checkpoint::load_average(Runtime& runtime, const std::string& name, const Tensor& to) const {
  for (const char* kind : {"average.", "weights."})
    if (const StoredArray* a = file_.find(kind + name); a && a->sizes() == to.sizes()) {
      load(runtime, kind + name, to);
      return true;
    }
  return false;
}

void Checkpoint::load(Runtime& runtime, const Parameters& parameters, bool average) const {
  std::vector<std::string> names;
  for (const Parameter& p : parameters) names.push_back("weights." + p.name);
  for (const StoredArray& a : file_.arrays())
    if (a.name.starts_with("weights."))
      CHECK(std::find(names.begin(), names.end(), a.name) != names.end(), "{}: tensor '{}' is not part of the network", path_,
            a.name);
  for (const Parameter& p : parameters) {
    const std::string mean = "average." + p.name;
    load(runtime, average && has(mean) ? mean : "weights." + p.name, p.value);
  }
}

}  // namespace dr
