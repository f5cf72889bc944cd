#include "common/config/value.h"

#include <string>
#include <vector>

#include "catch2/catch.hpp"

namespace cupel::config {
namespace {

template <typename T>
std::optional<T> ParseText(const Codec<T>& codec, std::string text) {
  return codec.parse({.items = {std::move(text)}});
}

template <typename T>
std::optional<T> ParseList(const Codec<T>& codec,
                           std::vector<std::string> items) {
  return codec.parse({.items = std::move(items), .is_list = true});
}

// What is shown is read as the same.
template <typename T>
void CheckShown(const Codec<T>& codec, const T& value, Value shown) {
  CAPTURE(shown.items);
  CHECK(codec.show(value).items == shown.items);
  CHECK(codec.show(value).is_list == shown.is_list);
  const auto parsed = codec.parse(shown);
  REQUIRE(parsed.has_value());
  CHECK(*parsed == value);
}

TEST_CASE("Durations have a unit and bounds") {
  const auto codec = DurationIn(absl::Milliseconds(100), absl::Hours(1));
  CHECK(ParseText(codec, "100ms") == absl::Milliseconds(100));
  CHECK(ParseText(codec, "1m30s") == absl::Seconds(90));
  CHECK(ParseText(codec, "1.5s") == absl::Milliseconds(1500));
  CheckShown(codec, absl::Seconds(90), {.items = {"1m30s"}});
  for (const char* text : {"", "10", "0", "ten", "99ms", "61m", "-10s", "+10s",
                           "inf", "10 s", "10s ", "10S", "1d"}) {
    CAPTURE(text);
    CHECK_FALSE(ParseText(codec, text).has_value());
  }
  CHECK_FALSE(ParseList(codec, {"10s"}).has_value());
}

TEST_CASE("A duration may be off where that is allowed") {
  const auto codec = DurationOrOff(absl::Seconds(1), absl::Hours(1));
  CheckShown<std::optional<absl::Duration>>(codec, std::nullopt,
                                            {.items = {"off"}});
  CheckShown<std::optional<absl::Duration>>(codec, absl::Seconds(2),
                                            {.items = {"2s"}});
  CHECK_FALSE(ParseText(codec, "0s").has_value());
  CHECK_FALSE(ParseText(codec, "").has_value());
}

TEST_CASE("A port may be missing where there is a default") {
  const auto codec = HostAndMaybePort(8892);
  const auto check = [&](const char* text, const char* host, int port) {
    CAPTURE(text);
    const auto endpoint = ParseText(codec, text);
    REQUIRE(endpoint.has_value());
    CHECK(endpoint->host == host);
    CHECK(endpoint->port == port);
  };
  check("verifier.example", "verifier.example", 8892);
  check("verifier.example:1", "verifier.example", 1);
  check("127.0.0.1", "127.0.0.1", 8892);
  check("::1", "::1", 8892);
  check("[::1]", "::1", 8892);
  check("[::1]:7", "::1", 7);
  CheckShown(codec, Endpoint{"::1", 7}, {.items = {"[::1]:7"}});
  for (const char* text :
       {"", ":1", "a:", "a:0", "a:65536", "abc:99999", "a:b", "[::1", "::1]",
        "[::1]:", "[::1]:x", "[a]", "unix:/x", "dns:a:1", "a%b", "a b"}) {
    CAPTURE(text);
    CHECK_FALSE(ParseText(codec, text).has_value());
  }
}

TEST_CASE("A word is no path") {
  const auto codec = WordOrPath({"any", "pinned"});
  const auto parse = [&](const char* text) {
    return codec.parse({.items = {text}, .folder = "/etc/cupel"});
  };
  CHECK(parse("any") == "any");
  CHECK(parse("") == "");
  CHECK(parse("boot.json") == "/etc/cupel/boot.json");
  CHECK(parse("/boot.json") == "/boot.json");
  CHECK_FALSE(ParseList(codec, {"any", "pinned"}).has_value());
  CheckShown<std::string>(codec, "pinned", {.items = {"pinned"}});
}

TEST_CASE("Sizes have binary units and bounds") {
  const auto codec = SizeIn(1, uint64_t{1} << 40);
  CHECK(ParseText(codec, "1") == 1);
  CHECK(ParseText(codec, "4096") == 4096);
  CheckShown(codec, uint64_t{1000}, {.items = {"1000"}});
  CheckShown(codec, uint64_t{64} << 10, {.items = {"64KiB"}});
  CheckShown(codec, uint64_t{1} << 20, {.items = {"1MiB"}});
  CheckShown(codec, uint64_t{3} << 30, {.items = {"3GiB"}});
  for (const char* text :
       {"", "0", "MiB", "1MB", "1M", "1mib", "-1", "+1", " 1", "1.5MiB", "0x10",
        "18446744073709551616", "17179869184GiB", "1025GiB"}) {
    CAPTURE(text);
    CHECK_FALSE(ParseText(codec, text).has_value());
  }
}

TEST_CASE("Numbers have bounds") {
  const auto codec = CountOrAuto(1, 64);
  CheckShown(codec, uint32_t{0}, {.items = {"auto"}});
  CheckShown(codec, uint32_t{64}, {.items = {"64"}});
  for (const char* text : {"0", "65", "-1", "4294967297", "1.0", "1e1", ""}) {
    CAPTURE(text);
    CHECK_FALSE(ParseText(codec, text).has_value());
  }
}

TEST_CASE("Endpoints are a host and a port") {
  const auto codec = HostAndPort();
  CheckShown(codec, {"127.0.0.1", 8891}, {.items = {"127.0.0.1:8891"}});
  CheckShown(codec, {"::1", 1}, {.items = {"[::1]:1"}});
  CheckShown(codec, {"verifier.example", 65535},
             {.items = {"verifier.example:65535"}});
  for (const char* text :
       {"", ":1", "a", "a:", "a:0", "a:65536", "a:-1", "a:1x", "::1:1", "[::1]",
        "[a]:1", "[::1:1", "a b:1", "a/b:1", "dns:///a:1", "[]:1"}) {
    CAPTURE(text);
    CHECK_FALSE(ParseText(codec, text).has_value());
  }
  CHECK(ParseText(HostAndPortOrOff(), "off").has_value());
}

TEST_CASE("A list is a list, or has commas") {
  const std::vector<Endpoint> both = {{"a", 1}, {"b", 2}};
  CheckShown(HostsAndPorts(), both, {.items = {"a:1", "b:2"}, .is_list = true});
  CHECK(ParseText(HostsAndPorts(), "a:1, b:2") == both);
  CHECK_FALSE(ParseText(HostsAndPorts(), "").has_value());
  CHECK_FALSE(ParseText(HostsAndPorts(), "a:1,").has_value());
  CHECK_FALSE(ParseList(HostsAndPorts(), {}).has_value());
  CHECK_FALSE(ParseList(HostsAndPorts(), {"a:1,b:2"}).has_value());

  CheckShown<std::vector<std::string>>(Texts(), {}, {.is_list = true});
  CHECK(ParseText(Texts(), "")->empty());
  CHECK_FALSE(ParseList(Texts(), {""}).has_value());
  CHECK_FALSE(ParseList(Texts(), {"a\nb"}).has_value());
}

TEST_CASE("A relative path starts in its file's folder") {
  CHECK(Path().parse({.items = {"a/b"}, .folder = "/etc/cupel"}) ==
        "/etc/cupel/a/b");
  CHECK(Path().parse({.items = {"/a"}, .folder = "/etc/cupel"}) == "/a");
  CHECK(Path().parse({.items = {"a/b"}}) == "a/b");
  CHECK_FALSE(ParseText(Path(), "").has_value());
  CHECK(PathOrNone().parse({.items = {""}, .folder = "/etc"}) == "");
  CHECK_FALSE(ParseText(Path(), "/a\nb").has_value());
}

TEST_CASE("Words are taken literally") {
  CHECK(ParseText(Bool(), "true") == true);
  CHECK_FALSE(ParseText(Bool(), "yes").has_value());
  CHECK_FALSE(ParseText(Bool(), "True").has_value());
  CHECK(ParseText(OneOf({"a", "b"}), "b") == "b");
  CHECK_FALSE(ParseText(OneOf({"a", "b"}), "").has_value());
  CHECK(ParseText(Level(), "warning") == LogLevel::kWarning);
  CHECK_FALSE(ParseText(Level(), "WARNING").has_value());
  CHECK(ParseText(Format(), "json") == LogFormat::kJson);
}

TEST_CASE("An agent's id is a UUID or auto") {
  const auto codec = AgentIdOrAuto();
  CheckShown<std::optional<AgentId>>(codec, std::nullopt, {.items = {"auto"}});
  const std::string id = "d432fbb3-d2f1-4a97-9ef7-75bd81c00000";
  CheckShown<std::optional<AgentId>>(codec, *AgentId::Parse(id),
                                     {.items = {id}});
  CHECK_FALSE(ParseText(codec, "machine-1").has_value());
}

}  // namespace
}  // namespace cupel::config
