// What an option may hold, and how it is written.
#ifndef CUPEL_COMMON_CONFIG_VALUE_H_
#define CUPEL_COMMON_CONFIG_VALUE_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/util/agent_id.h"
#include "common/util/log.h"

namespace cupel::config {

// A value as it was written, in whatever source.
struct Value {
  std::vector<std::string> items = {};  // one of a scalar
  bool is_list = false;
  // Where paths that don't begin with "/" start; empty: the working folder.
  std::string folder = {};
};

// How an option of type T is read and written. `parse` gives nullopt for what
// isn't `expected`, which completes "expected ...".
template <typename T>
struct Codec {
  std::string expected;
  std::function<std::optional<T>(const Value&)> parse;
  // What `parse` makes the same T of.
  std::function<Value(const T&)> show;
};

// A host's name or address, and a port.
struct Endpoint {
  std::string host;  // without brackets
  uint16_t port = 0;
  // "127.0.0.1:8891", "[::1]:8891".
  std::string ToString() const;
  friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

// The inverse of ToString; the port is 1 to 65535. nullopt for anything else.
std::optional<Endpoint> ParseEndpoint(absl::string_view text);
// The same, where a host's name or address alone, "::1" among them, has the
// port `default_port`.
std::optional<Endpoint> ParseEndpoint(absl::string_view text,
                                      uint16_t default_port);

// One line of text. Control characters are refused; empty text is allowed.
Codec<std::string> Text();
// One of `words`.
Codec<std::string> OneOf(std::vector<std::string> words);
// A path of a file or folder; one that doesn't begin with "/" in a file of
// configuration is taken from that file's folder. Never empty.
Codec<std::string> Path();
// The same, or "": none.
Codec<std::string> PathOrNone();
// One of `words`, or else a path as above; or "".
Codec<std::string> WordOrPath(std::vector<std::string> words);
Codec<bool> Bool();
Codec<uint32_t> Count(uint32_t least, uint32_t most);
// The same, or "auto": 0.
Codec<uint32_t> CountOrAuto(uint32_t least, uint32_t most);
// "100ms", "10s", "1m30s", "24h".
Codec<absl::Duration> DurationIn(absl::Duration least, absl::Duration most);
// The same, or "off".
Codec<std::optional<absl::Duration>> DurationOrOff(absl::Duration least,
                                                   absl::Duration most);
// In bytes: "512", "64KiB", "1MiB", "2GiB".
Codec<uint64_t> SizeIn(uint64_t least, uint64_t most);
Codec<Endpoint> HostAndPort();
// The same, or a host alone with this port.
Codec<Endpoint> HostAndMaybePort(uint16_t default_port);
// The same, or "off".
Codec<std::optional<Endpoint>> HostAndPortOrOff();
// At least one; a list, or a scalar of which commas make one.
Codec<std::vector<Endpoint>> HostsAndPorts();
// A list of texts, or a scalar of which commas make one; may be empty.
Codec<std::vector<std::string>> Texts();
// A UUID, or "auto".
Codec<std::optional<AgentId>> AgentIdOrAuto();
Codec<LogLevel> Level();
Codec<LogFormat> Format();

}  // namespace cupel::config

#endif  // CUPEL_COMMON_CONFIG_VALUE_H_
