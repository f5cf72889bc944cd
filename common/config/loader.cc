#include "common/config/loader.h"

#include <unistd.h>

#include <algorithm>
#include <exception>
#include <filesystem>
#include <optional>
#include <set>
#include <sstream>
#include <system_error>

#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/util/bytes.h"
#include "common/util/escape.h"
#include "common/util/file.h"
#include "common/util/status_macros.h"
#include "yaml-cpp/eventhandler.h"
#include "yaml-cpp/yaml.h"

namespace cupel::config {
namespace {

constexpr size_t kMaxFileSize = size_t{1} << 20;

// A key with its value, and where it stands: "verifier.yaml:12".
struct Setting {
  std::string place;
  std::string key;
  Value value;
};

std::string Place(const std::string& path, const YAML::Mark& mark) {
  // yaml-cpp has no mark for some errors.
  if (mark.is_null()) return EscapeForDisplay(path);
  return absl::StrCat(EscapeForDisplay(path), ":", mark.line + 1);
}

absl::Status Refused(absl::string_view place, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(place, ": ", what));
}

// A tag would change what the scalar means; quotes are "!", their lack is "?".
bool HasTag(const YAML::Node& node) {
  const std::string& tag = node.Tag();
  return !tag.empty() && tag != "?" && tag != "!";
}

absl::StatusOr<std::string> ReadScalar(const YAML::Node& node,
                                       const std::string& place,
                                       const std::string& key) {
  if (node.IsNull()) {
    return Refused(place, absl::StrCat(key,
                                       " has no value; write \"\" for an "
                                       "empty one, or leave the line out"));
  }
  if (!node.IsScalar()) {
    return Refused(place, absl::StrCat(key, ": a value inside of it is a ",
                                       node.IsMap() ? "mapping" : "list",
                                       ", where only text may stand"));
  }
  if (HasTag(node)) {
    return Refused(place,
                   absl::StrCat(key, ": tags such as ", Quoted(node.Tag(), 40),
                                " are not supported"));
  }
  return node.Scalar();
}

absl::StatusOr<Value> ReadValue(const YAML::Node& node,
                                const std::string& place,
                                const std::string& key,
                                const std::string& folder) {
  Value value = {.folder = folder};
  if (node.IsMap()) {
    return Refused(place, absl::StrCat(key,
                                       " holds a mapping; options don't "
                                       "nest"));
  }
  if (!node.IsSequence()) {
    CUPEL_ASSIGN_OR_RETURN(std::string text, ReadScalar(node, place, key));
    value.items.push_back(std::move(text));
    return value;
  }
  value.is_list = true;
  for (const YAML::Node& item : node) {
    CUPEL_ASSIGN_OR_RETURN(std::string text, ReadScalar(item, place, key));
    value.items.push_back(std::move(text));
  }
  return value;
}

// Notes where documents begin, and keeps nothing of them.
class DocumentStarts : public YAML::EventHandler {
 public:
  const std::vector<YAML::Mark>& marks() const { return marks_; }

  void OnDocumentStart(const YAML::Mark& mark) override {
    marks_.push_back(mark);
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t,
                const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}

 private:
  std::vector<YAML::Mark> marks_;
};

// That `text` holds one document at most. YAML::Load would pass over what
// follows the first, and YAML::LoadAll never ends where the parser meets what
// begins no document, a comma for instance: yaml-cpp 0.7 makes empty documents
// of it without end. So no more than two are asked for. May throw what yaml-cpp
// throws.
absl::Status CheckOneDocument(const std::string& path,
                              const std::string& text) {
  std::istringstream input(text);
  YAML::Parser parser(input);
  DocumentStarts starts;
  if (!parser.HandleNextDocument(starts) ||
      !parser.HandleNextDocument(starts) || starts.marks().size() < 2) {
    return absl::OkStatus();
  }
  const YAML::Mark& first = starts.marks()[0];
  const YAML::Mark& second = starts.marks()[1];
  return Refused(Place(path, second),
                 first.pos == second.pos
                     ? "no YAML: nothing can begin so"
                     : "a second document; one file holds one");
}

// May throw what yaml-cpp throws.
absl::StatusOr<std::vector<Setting>> ReadSettings(const std::string& path,
                                                  const std::string& text) {
  CUPEL_RETURN_IF_ERROR(CheckOneDocument(path, text));
  const YAML::Node root = YAML::Load(text);
  std::vector<Setting> settings;
  if (root.IsNull()) return settings;  // comments alone
  if (!root.IsMap()) {
    return Refused(Place(path, root.Mark()),
                   "expected lines of \"key: value\"");
  }
  const std::string folder =
      std::filesystem::absolute(path).parent_path().string();
  std::map<std::string, std::string> places;
  for (const auto& entry : root) {
    const std::string place = Place(path, entry.first.Mark());
    if (!entry.first.IsScalar()) {
      return Refused(place, "a key that is no word");
    }
    const std::string key = entry.first.Scalar();
    const std::string shown = EscapeForDisplay(key);
    // yaml-cpp would keep both and answer with either.
    if (const auto [first, is_new] = places.emplace(key, place); !is_new) {
      return Refused(place, absl::StrCat(shown, " stands here again, after ",
                                         first->second));
    }
    CUPEL_ASSIGN_OR_RETURN(Value value,
                           ReadValue(entry.second, place, shown, folder));
    settings.push_back({place, key, std::move(value)});
  }
  return settings;
}

absl::StatusOr<std::vector<Setting>> ReadYaml(const std::string& path) {
  CUPEL_ASSIGN_OR_RETURN(const std::vector<uint8_t> bytes,
                         ReadFile(path, kMaxFileSize));
  // yaml-cpp takes a NUL for the end of the text.
  if (std::ranges::find(bytes, 0) != bytes.end()) {
    return Refused(EscapeForDisplay(path), "a NUL byte; this is no YAML");
  }
  try {
    return ReadSettings(path, std::string(AsText(bytes)));
  } catch (const YAML::Exception& e) {
    return Refused(Place(path, e.mark),
                   absl::StrCat("no YAML: ", EscapeForDisplay(e.msg)));
  } catch (const std::exception& e) {
    return Refused(EscapeForDisplay(path),
                   absl::StrCat("can't be read: ", EscapeForDisplay(e.what())));
  }
}

// "/etc/cupel/verifier.d" for "/etc/cupel/verifier.yaml".
std::string DropInFolder(const std::string& file) {
  return absl::StrCat(absl::StripSuffix(file, ".yaml"), ".d");
}

absl::StatusOr<std::vector<std::string>> ListDropIns(const std::string& file) {
  namespace fs = std::filesystem;
  const std::string folder = DropInFolder(file);
  const auto failed = [&folder](const std::error_code& error) {
    return absl::UnavailableError(
        absl::StrCat(EscapeForDisplay(folder), ": ", error.message()));
  };
  std::vector<std::string> files;
  std::error_code error;
  fs::directory_iterator entry(folder, error);
  if (error == std::errc::no_such_file_or_directory) return files;
  if (error) return failed(error);
  for (; entry != fs::directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (absl::EndsWith(name, ".yml")) {
      return Refused(EscapeForDisplay(entry->path().string()),
                     "would not be read; let its name end in .yaml");
    }
    if (absl::EndsWith(name, ".yaml") && name[0] != '.') {
      files.push_back(entry->path().string());
    }
  }
  if (error) return failed(error);
  std::ranges::sort(files);
  return files;
}

absl::StatusOr<std::vector<Setting>> ReadFiles(const Sources& sources) {
  std::vector<Setting> settings;
  if (sources.file.empty()) return settings;
  auto main = ReadYaml(sources.file);
  if (main.ok()) {
    settings = *std::move(main);
  } else if (!absl::IsNotFound(main.status()) || sources.file_required) {
    return main.status();
  }
  CUPEL_ASSIGN_OR_RETURN(const std::vector<std::string> drop_ins,
                         ListDropIns(sources.file));
  for (const std::string& path : drop_ins) {
    CUPEL_ASSIGN_OR_RETURN(std::vector<Setting> more, ReadYaml(path));
    std::ranges::move(more, std::back_inserter(settings));
  }
  return settings;
}

size_t EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

// The message for a key that no option has.
std::string UnknownKey(absl::string_view key,
                       std::span<const Binding> options) {
  constexpr size_t kMaxSimilarSize = 64;
  constexpr size_t kMaxDistance = 3;
  const Binding* similar = nullptr;
  size_t least = kMaxDistance + 1;
  if (key.size() <= kMaxSimilarSize) {
    for (const Binding& option : options) {
      const size_t distance = EditDistance(key, option.key);
      if (distance < least) {
        least = distance;
        similar = &option;
      }
    }
  }
  return absl::StrCat("unknown option ", Quoted(key, kMaxSimilarSize),
                      similar == nullptr
                          ? ""
                          : absl::StrCat("; did you mean ", similar->key, "?"));
}

absl::Status ApplyOne(std::span<const Binding> options, const Setting& setting,
                      Origins* origins) {
  for (const Binding& option : options) {
    if (option.key != setting.key) continue;
    if (!option.set(setting.value)) {
      constexpr size_t kMaxShown = 80;
      const std::string given = absl::StrJoin(setting.value.items, ", ");
      return Refused(
          setting.place,
          absl::StrCat(option.key, ": expected ", option.expected, "; got ",
                       setting.value.is_list ? "the list " : "",
                       Quoted(given, kMaxShown)));
    }
    if (origins != nullptr) (*origins)[option.key] = setting.place;
    return absl::OkStatus();
  }
  return Refused(setting.place, UnknownKey(setting.key, options));
}

std::vector<Setting> EnvironmentSettings(absl::string_view program,
                                         const Sources& sources) {
  const std::string prefix = EnvironmentName(program, "");
  std::vector<Setting> settings;
  for (const auto& [name, text] : sources.environment) {
    if (!absl::StartsWith(name, prefix)) continue;
    settings.push_back(
        {EscapeForDisplay(name),
         absl::AsciiStrToLower(absl::string_view(name).substr(prefix.size())),
         {.items = {text}}});
  }
  return settings;
}

Setting FlagSetting(const Flag& flag) {
  const std::string place =
      !flag.place.empty()
          ? flag.place
          : absl::StrCat("--", absl::StrReplaceAll(flag.key, {{"_", "-"}}));
  return {EscapeForDisplay(place),
          flag.key,
          {.items = flag.values, .is_list = flag.values.size() != 1}};
}

// A scalar in YAML. What could be taken for something else is quoted.
std::string ShowScalar(absl::string_view text) {
  const bool is_plain =
      !text.empty() &&
      absl::ascii_isalnum(static_cast<unsigned char>(text[0])) &&
      std::ranges::all_of(text, [](char c) {
        return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
               absl::StrContains("_-./", c);
      });
  if (is_plain || (absl::StartsWith(text, "/") && text.size() > 1 &&
                   ShowScalar(text.substr(1)).front() != '"')) {
    return std::string(text);
  }
  return absl::StrCat(
      "\"", absl::StrReplaceAll(text, {{"\\", "\\\\"}, {"\"", "\\\""}}), "\"");
}

std::string ShowValue(const Value& value) {
  if (!value.is_list) return ShowScalar(value.items.at(0));
  return absl::StrCat(
      "[",
      absl::StrJoin(value.items, ", ",
                    [](std::string* out, const std::string& item) {
                      out->append(ShowScalar(item));
                    }),
      "]");
}

}  // namespace

Sources DefaultSources(absl::string_view program) {
  Sources sources = {.file = absl::StrCat("/etc/cupel/", program, ".yaml")};
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::pair<absl::string_view, absl::string_view> parts =
        absl::StrSplit(*entry, absl::MaxSplits('=', 1));
    sources.environment.emplace(parts.first, parts.second);
  }
  return sources;
}

absl::StatusOr<Sources> SourcesFromFlags(absl::string_view program,
                                         const std::optional<std::string>& file,
                                         std::span<const std::string> sets) {
  Sources sources = DefaultSources(program);
  if (file.has_value()) {
    if (file->empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--config: the file has no name; leave the option out "
                       "for ",
                       sources.file));
    }
    sources.file = *file;
    sources.file_required = true;
  }
  for (const std::string& set : sets) {
    const size_t equals = set.find('=');
    if (equals == std::string::npos) {
      return absl::InvalidArgumentError(
          absl::StrCat("--set ", Quoted(set), ": KEY=VALUE is expected"));
    }
    const std::string key = set.substr(0, equals);
    sources.flags.push_back({.key = key,
                             .values = {set.substr(equals + 1)},
                             .place = absl::StrCat("--set ", key)});
  }
  return sources;
}

std::string EnvironmentName(absl::string_view program, absl::string_view key) {
  return absl::StrCat("CUPEL_", absl::AsciiStrToUpper(program), "_",
                      absl::AsciiStrToUpper(key));
}

absl::Status Apply(absl::string_view program, std::span<const Binding> options,
                   const Sources& sources, Origins* origins) {
  CUPEL_ASSIGN_OR_RETURN(std::vector<Setting> settings, ReadFiles(sources));
  std::ranges::move(EnvironmentSettings(program, sources),
                    std::back_inserter(settings));
  for (const Flag& flag : sources.flags) settings.push_back(FlagSetting(flag));
  for (const Setting& setting : settings) {
    CUPEL_RETURN_IF_ERROR(ApplyOne(options, setting, origins));
  }
  return absl::OkStatus();
}

std::string Render(absl::string_view program,
                   std::span<const Binding> options) {
  std::string text = absl::StrCat(
      "# Configuration of cupel-", program, ". Every option stands here with\n",
      "# its default. Files ", program, ".d/*.yaml, in the order of their\n",
      "# names, override this one, variables such as\n# ",
      EnvironmentName(program, options.empty() ? "" : options.front().key),
      " override\n# those, and flags override all of them. Relative paths "
      "start in the\n# folder of the file that names them.\n");
  for (const Binding& option : options) {
    if (!option.section.empty()) {
      absl::StrAppend(&text, "\n# --- ", option.section, "\n");
    }
    text += '\n';
    for (const absl::string_view line : absl::StrSplit(option.help, '\n')) {
      absl::StrAppend(&text, "# ", line, "\n");
    }
    absl::StrAppend(&text, option.key, ": ", ShowValue(option.show()), "\n");
  }
  return text;
}

}  // namespace cupel::config
