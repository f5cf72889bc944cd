#include "common/config/value.h"

#include <algorithm>
#include <array>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace cupel::config {
namespace {

constexpr absl::string_view kAuto = "auto";
constexpr absl::string_view kOff = "off";

bool IsLine(absl::string_view text) {
  return std::ranges::none_of(text, [](char c) {
    return absl::ascii_iscntrl(static_cast<unsigned char>(c));
  });
}

// The text of a scalar; nullopt of a list, or of more than a line.
std::optional<absl::string_view> Scalar(const Value& value) {
  if (value.is_list || value.items.size() != 1 || !IsLine(value.items[0])) {
    return std::nullopt;
  }
  return value.items[0];
}

// What a list holds. Commas part a scalar's items, as one has them in an
// environment variable; the empty text is the empty list.
std::optional<std::vector<std::string>> Items(const Value& value) {
  std::vector<std::string> items = value.items;
  if (!value.is_list) {
    const auto text = Scalar(value);
    if (!text) return std::nullopt;
    items.clear();
    if (!text->empty()) {
      for (const absl::string_view item : absl::StrSplit(*text, ',')) {
        items.emplace_back(absl::StripAsciiWhitespace(item));
      }
    }
  }
  for (const std::string& item : items) {
    if (item.empty() || !IsLine(item)) return std::nullopt;
  }
  return items;
}

Value Shown(std::string text) { return {.items = {std::move(text)}}; }

// A codec of scalars out of functions over their text.
template <typename T>
Codec<T> ScalarCodec(
    std::string expected,
    std::function<std::optional<T>(absl::string_view text)> parse,
    std::function<std::string(const T&)> show) {
  return {.expected = std::move(expected),
          .parse = [parse = std::move(parse)](
                       const Value& value) -> std::optional<T> {
            const auto text = Scalar(value);
            return text ? parse(*text) : std::nullopt;
          },
          .show = [show = std::move(show)](
                      const T& value) { return Shown(show(value)); }};
}

// `codec`'s values, or `word`, which is nullopt.
template <typename T>
Codec<std::optional<T>> Or(absl::string_view word, Codec<T> codec) {
  return {.expected = absl::StrCat(codec.expected, ", or \"", word, "\""),
          .parse = [word, parse = codec.parse](
                       const Value& value) -> std::optional<std::optional<T>> {
            if (const auto text = Scalar(value); text && *text == word) {
              return std::make_optional<std::optional<T>>(std::nullopt);
            }
            std::optional<T> parsed = parse(value);
            if (!parsed) return std::nullopt;
            return std::make_optional<std::optional<T>>(std::move(parsed));
          },
          .show =
              [word, show = codec.show](const std::optional<T>& value) {
                return value ? show(*value) : Shown(std::string(word));
              }};
}

struct Unit {
  absl::string_view name;
  uint64_t size;
};
constexpr std::array<Unit, 3> kUnits = {{{"KiB", uint64_t{1} << 10},
                                         {"MiB", uint64_t{1} << 20},
                                         {"GiB", uint64_t{1} << 30}}};

// Digits alone: SimpleAtoi takes signs and blanks too.
template <typename T>
std::optional<T> ParseDigits(absl::string_view text) {
  T number = 0;
  if (text.empty() ||
      !std::ranges::all_of(text,
                           [](char c) {
                             return absl::ascii_isdigit(
                                 static_cast<unsigned char>(c));
                           }) ||
      !absl::SimpleAtoi(text, &number)) {
    return std::nullopt;
  }
  return number;
}

std::optional<uint64_t> ParseSize(absl::string_view text) {
  uint64_t unit = 1;
  for (const Unit& each : kUnits) {
    if (absl::ConsumeSuffix(&text, each.name)) {
      unit = each.size;
      break;
    }
  }
  const auto number = ParseDigits<uint64_t>(text);
  if (!number || *number > UINT64_MAX / unit) return std::nullopt;
  return *number * unit;
}

std::string ShowSize(uint64_t size) {
  for (size_t i = kUnits.size(); i-- > 0;) {
    if (size != 0 && size % kUnits[i].size == 0) {
      return absl::StrCat(size / kUnits[i].size, kUnits[i].name);
    }
  }
  return absl::StrCat(size);
}

// nullopt for what has no end, no unit, or a sign, too.
std::optional<absl::Duration> ParseDuration(absl::string_view text) {
  absl::Duration duration;
  if (text.empty() || !absl::ascii_isdigit(static_cast<uint8_t>(text[0])) ||
      ParseDigits<uint64_t>(text) || !absl::ParseDuration(text, &duration) ||
      duration == absl::InfiniteDuration()) {
    return std::nullopt;
  }
  return duration;
}

bool IsHost(absl::string_view host) {
  return !host.empty() && host.size() <= 253 &&
         std::ranges::all_of(host, [](char c) {
           return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
                  c == '-' || c == '.' || c == '_';
         });
}

bool IsBracketedAddress(absl::string_view address) {
  return absl::StrContains(address, ':') && address.size() <= 64 &&
         std::ranges::all_of(address, [](char c) {
           return absl::ascii_isxdigit(static_cast<unsigned char>(c)) ||
                  c == ':' || c == '.';
         });
}

std::string Resolve(absl::string_view path, const std::string& folder) {
  if (absl::StartsWith(path, "/") || folder.empty()) return std::string(path);
  return absl::StrCat(folder, "/", path);
}

Codec<std::string> PathCodec(std::string expected, bool may_be_empty) {
  return {.expected = std::move(expected),
          .parse =
              [may_be_empty](const Value& value) -> std::optional<std::string> {
            const auto text = Scalar(value);
            if (!text) return std::nullopt;
            if (!text->empty()) return Resolve(*text, value.folder);
            return may_be_empty ? std::make_optional<std::string>()
                                : std::nullopt;
          },
          .show = [](const std::string& path) { return Shown(path); }};
}

template <typename T>
Codec<T> WordCodec(std::vector<std::pair<absl::string_view, T>> words) {
  std::vector<std::string> quoted;
  quoted.reserve(words.size());
  for (const auto& [word, value] : words) {
    quoted.push_back(absl::StrCat("\"", word, "\""));
  }
  return ScalarCodec<T>(
      absl::StrJoin(quoted, " or "),
      [words](absl::string_view text) -> std::optional<T> {
        for (const auto& [word, value] : words) {
          if (text == word) return value;
        }
        return std::nullopt;
      },
      [words](const T& wanted) {
        for (const auto& [word, value] : words) {
          if (value == wanted) return std::string(word);
        }
        return std::string();
      });
}

}  // namespace

std::string Endpoint::ToString() const {
  return absl::StrContains(host, ':') ? absl::StrCat("[", host, "]:", port)
                                      : absl::StrCat(host, ":", port);
}

std::optional<Endpoint> ParseEndpoint(absl::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == absl::string_view::npos) return std::nullopt;
  const auto port = ParseDigits<uint32_t>(text.substr(colon + 1));
  if (!port || *port < 1 || *port > 65535) return std::nullopt;
  absl::string_view host = text.substr(0, colon);
  if (absl::ConsumePrefix(&host, "[")) {
    if (!absl::ConsumeSuffix(&host, "]") || !IsBracketedAddress(host)) {
      return std::nullopt;
    }
  } else if (!IsHost(host)) {
    return std::nullopt;
  }
  return Endpoint{std::string(host), static_cast<uint16_t>(*port)};
}

std::optional<Endpoint> ParseEndpoint(absl::string_view text,
                                      uint16_t default_port) {
  if (auto endpoint = ParseEndpoint(text)) return endpoint;
  absl::string_view host = text;
  if (absl::ConsumePrefix(&host, "[")) {
    if (!absl::ConsumeSuffix(&host, "]") || !IsBracketedAddress(host)) {
      return std::nullopt;
    }
  } else if (!IsHost(host) &&
             // One colon would be that of a port that makes no sense.
             (std::ranges::count(host, ':') < 2 || !IsBracketedAddress(host))) {
    return std::nullopt;
  }
  return Endpoint{std::string(host), default_port};
}

Codec<std::string> Text() {
  return ScalarCodec<std::string>(
      "a line of text",
      [](absl::string_view text) { return std::string(text); },
      [](const std::string& text) { return text; });
}

Codec<std::string> OneOf(std::vector<std::string> words) {
  std::string expected =
      absl::StrCat("one of \"", absl::StrJoin(words, "\", \""), "\"");
  return ScalarCodec<std::string>(
      std::move(expected),
      [words = std::move(words)](
          absl::string_view text) -> std::optional<std::string> {
        const auto found = std::ranges::find(words, text);
        return found == words.end() ? std::nullopt : std::make_optional(*found);
      },
      [](const std::string& text) { return text; });
}

Codec<std::string> Path() { return PathCodec("a path", false); }
Codec<std::string> PathOrNone() {
  return PathCodec("a path, or \"\" for none", true);
}

Codec<std::string> WordOrPath(std::vector<std::string> words) {
  std::string expected = absl::StrCat("\"", absl::StrJoin(words, "\", \""),
                                      "\", a path, or \"\" for none");
  Codec<std::string> path = PathOrNone();
  return {.expected = std::move(expected),
          .parse = [words = std::move(words), path = path.parse](
                       const Value& value) -> std::optional<std::string> {
            const auto text = Scalar(value);
            if (text && std::ranges::find(words, *text) != words.end()) {
              return std::string(*text);
            }
            return path(value);
          },
          .show = std::move(path.show)};
}

Codec<bool> Bool() {
  return WordCodec<bool>({{"true", true}, {"false", false}});
}

Codec<uint32_t> Count(uint32_t least, uint32_t most) {
  return ScalarCodec<uint32_t>(
      absl::StrCat("a number from ", least, " to ", most),
      [least, most](absl::string_view text) -> std::optional<uint32_t> {
        const auto number = ParseDigits<uint32_t>(text);
        return number && *number >= least && *number <= most ? number
                                                             : std::nullopt;
      },
      [](const uint32_t& number) { return absl::StrCat(number); });
}

Codec<uint32_t> CountOrAuto(uint32_t least, uint32_t most) {
  const Codec<std::optional<uint32_t>> codec = Or(kAuto, Count(least, most));
  return {.expected = codec.expected,
          .parse = [parse = codec.parse](
                       const Value& value) -> std::optional<uint32_t> {
            const auto parsed = parse(value);
            return parsed ? std::make_optional(parsed->value_or(0))
                          : std::nullopt;
          },
          .show =
              [show = codec.show](const uint32_t& number) {
                return show(number == 0 ? std::nullopt
                                        : std::make_optional(number));
              }};
}

Codec<absl::Duration> DurationIn(absl::Duration least, absl::Duration most) {
  return ScalarCodec<absl::Duration>(
      absl::StrCat("a duration with its unit (\"100ms\", \"10s\", \"24h\") "
                   "from ",
                   absl::FormatDuration(least), " to ",
                   absl::FormatDuration(most)),
      [least, most](absl::string_view text) -> std::optional<absl::Duration> {
        const auto duration = ParseDuration(text);
        return duration && *duration >= least && *duration <= most
                   ? duration
                   : std::nullopt;
      },
      [](const absl::Duration& duration) {
        return absl::FormatDuration(duration);
      });
}

Codec<std::optional<absl::Duration>> DurationOrOff(absl::Duration least,
                                                   absl::Duration most) {
  return Or(kOff, DurationIn(least, most));
}

Codec<uint64_t> SizeIn(uint64_t least, uint64_t most) {
  return ScalarCodec<uint64_t>(
      absl::StrCat("a size (\"4096\", \"64KiB\", \"1MiB\", \"2GiB\") from ",
                   ShowSize(least), " to ", ShowSize(most)),
      [least, most](absl::string_view text) -> std::optional<uint64_t> {
        const auto size = ParseSize(text);
        return size && *size >= least && *size <= most ? size : std::nullopt;
      },
      ShowSize);
}

Codec<Endpoint> HostAndPort() {
  return ScalarCodec<Endpoint>(
      "HOST:PORT (\"verifier.example:8891\", \"[::1]:8891\")",
      [](absl::string_view text) { return ParseEndpoint(text); },
      [](const Endpoint& endpoint) { return endpoint.ToString(); });
}

Codec<Endpoint> HostAndMaybePort(uint16_t default_port) {
  return ScalarCodec<Endpoint>(
      absl::StrCat("HOST or HOST:PORT (\"verifier.example\", \"[::1]:",
                   default_port, "\")"),
      [default_port](absl::string_view text) {
        return ParseEndpoint(text, default_port);
      },
      [](const Endpoint& endpoint) { return endpoint.ToString(); });
}

Codec<std::optional<Endpoint>> HostAndPortOrOff() {
  return Or(kOff, HostAndPort());
}

Codec<std::vector<Endpoint>> HostsAndPorts() {
  return {
      .expected =
          "a list of at least one HOST:PORT (\"verifier.example:8891\", "
          "\"[::1]:8891\")",
      .parse = [](const Value& value) -> std::optional<std::vector<Endpoint>> {
        const auto items = Items(value);
        if (!items || items->empty()) return std::nullopt;
        std::vector<Endpoint> endpoints;
        for (const std::string& item : *items) {
          const auto endpoint = ParseEndpoint(item);
          if (!endpoint) return std::nullopt;
          endpoints.push_back(*endpoint);
        }
        return endpoints;
      },
      .show =
          [](const std::vector<Endpoint>& endpoints) {
            Value value = {.is_list = true};
            for (const Endpoint& endpoint : endpoints) {
              value.items.push_back(endpoint.ToString());
            }
            return value;
          }};
}

Codec<std::vector<std::string>> Texts() {
  return {.expected = "a list of texts that are not empty",
          .parse = Items,
          .show = [](const std::vector<std::string>& items) {
            return Value{.items = items, .is_list = true};
          }};
}

Codec<std::optional<AgentId>> AgentIdOrAuto() {
  return Or(kAuto, ScalarCodec<AgentId>(
                       "a UUID (\"d432fbb3-d2f1-4a97-9ef7-75bd81c00000\")",
                       [](absl::string_view text) -> std::optional<AgentId> {
                         const auto id = AgentId::Parse(text);
                         return id.ok() ? std::make_optional(*id)
                                        : std::nullopt;
                       },
                       [](const AgentId& id) { return id.ToString(); }));
}

Codec<LogLevel> Level() {
  return WordCodec<LogLevel>({{"debug", LogLevel::kDebug},
                              {"info", LogLevel::kInfo},
                              {"warning", LogLevel::kWarning},
                              {"error", LogLevel::kError}});
}

Codec<LogFormat> Format() {
  return WordCodec<LogFormat>(
      {{"text", LogFormat::kText}, {"json", LogFormat::kJson}});
}

}  // namespace cupel::config
