// Where configuration comes from, and in which order.
#ifndef CUPEL_COMMON_CONFIG_LOADER_H_
#define CUPEL_COMMON_CONFIG_LOADER_H_

#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/config/value.h"

namespace cupel::config {

// An option given on the command line. One value is as a scalar, of which
// commas make a list where a list is expected; several are a list.
struct Flag {
  std::string key;  // of the option: "store_path" for --store-path
  std::vector<std::string> values;
  // What messages call it; empty: "--store-path".
  std::string place = {};
};

// Each source overrides those before it, option by option; a list is replaced
// and not added to.
struct Sources {
  // The main file, "/etc/cupel/verifier.yaml". The drop-ins are those of its
  // folder "verifier.d" that end in ".yaml", in the order of their names'
  // bytes.
  std::string file = {};
  // Whether the main file has to be there: where a user has named it.
  bool file_required = false;
  // Every variable; those that begin with "CUPEL_VERIFIER_" count.
  std::map<std::string, std::string> environment = {};
  std::vector<Flag> flags = {};
};

// The main file of `program` ("agent", "verifier", "tenant") under /etc/cupel,
// and this process's environment.
Sources DefaultSources(absl::string_view program);

// The same with what the command line says of it: `file`, the value of --config
// where it is given, and that of each --set, "KEY=VALUE".
//
// kInvalidArgument for a file without a name, an unset variable of the shell's
// most likely, and for a --set without "=".
absl::StatusOr<Sources> SourcesFromFlags(absl::string_view program,
                                         const std::optional<std::string>& file,
                                         std::span<const std::string> sets);

// Which source an option has its value from: "/etc/cupel/verifier.yaml:12",
// "CUPEL_VERIFIER_STORE_PATH", "--store-path", "--set store_path". By key; a
// default isn't in it.
using Origins = std::map<std::string, std::string>;

// One option of a program, whatever its type.
struct Binding {
  std::string key;
  std::string section;  // the heading above it; empty: as the one before
  std::string help;
  std::string expected;  // completes "expected ..."
  // False for a value that isn't `expected`.
  std::function<bool(const Value&)> set;
  std::function<Value()> show;
};

// "CUPEL_VERIFIER_STORE_PATH" for ("verifier", "store_path").
std::string EnvironmentName(absl::string_view program, absl::string_view key);

// Sets the options from `sources`. The first thing that is wrong ends it.
//
// kInvalidArgument, with file and line, the variable's or the flag's name: text
// that is no YAML, an unknown option (with the one that it resembles), one that
// stands twice in a file, a value of the wrong kind; kNotFound for a main file
// that is required, and the errors of ReadFile for one that can't be read.
//
// Format: YAML 1.2, one document of one mapping; values are scalars or lists of
// scalars. At most 1 MiB a file. Trust: who may write these files decides what
// the program does; they are still read as if anybody had written them.
absl::Status Apply(absl::string_view program, std::span<const Binding> options,
                   const Sources& sources, Origins* origins);

// The options with their present values, as a file that Apply reads: each with
// its help as a comment.
std::string Render(absl::string_view program, std::span<const Binding> options);

// An option of the struct Config: how `member` is read and written. The table
// of these is a program's whole configuration: file, environment, flags and the
// shipped example follow from it.
template <typename Config>
struct Option {
  std::string key;
  std::string help;
  std::string expected;
  std::function<bool(Config&, const Value&)> set;
  std::function<Value(const Config&)> show;
  std::string section;
};

template <typename Config, typename T>
Option<Config> MakeOption(absl::string_view key, T Config::*member,
                          Codec<T> codec, absl::string_view help) {
  return {.key = std::string(key),
          .help = std::string(help),
          .expected = codec.expected,
          .set =
              [member, parse = std::move(codec.parse)](Config& config,
                                                       const Value& value) {
                auto parsed = parse(value);
                if (!parsed) return false;
                config.*member = *std::move(parsed);
                return true;
              },
          .show = [member, show = std::move(codec.show)](
                      const Config& config) { return show(config.*member); },
          .section = ""};
}

// Puts a heading above `option`.
template <typename Config>
Option<Config> Section(absl::string_view heading, Option<Config> option) {
  option.section = std::string(heading);
  return option;
}

// The table's options, bound to `config`, which must outlive them.
template <typename Config>
std::vector<Binding> Bind(const std::vector<Option<Config>>& table,
                          Config& config) {
  std::vector<Binding> bindings;
  bindings.reserve(table.size());
  for (const Option<Config>& option : table) {
    bindings.push_back(
        {.key = option.key,
         .section = option.section,
         .help = option.help,
         .expected = option.expected,
         .set = [&config, set = option.set](
                    const Value& value) { return set(config, value); },
         .show = [&config, show = option.show] { return show(config); }});
  }
  return bindings;
}

}  // namespace cupel::config

#endif  // CUPEL_COMMON_CONFIG_LOADER_H_
