#include "common/policy/policy_file.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "tests/support/policy_schema.h"
#include "tests/support/status_matchers.h"

namespace cupel::policy {
namespace {

using crypto::Digest;
using crypto::HashAlgorithm;
using testing::IsOk;
using testing::StatusIs;
using testing::ValidateSchema;

using testing::kInvalid;

std::string HexDigits(char digit, size_t size = 64) {
  return std::string(size, digit);
}

absl::StatusOr<RuntimePolicy> Load(absl::string_view json) {
  return LoadPolicyFile(ToVector(AsBytes(json)),
                        {.origin = "p.json", .key = std::nullopt});
}

bool HasCode(const RuntimePolicy& policy, absl::string_view code) {
  return std::ranges::any_of(
      policy.warnings, [&](const PolicyWarning& w) { return w.code == code; });
}

// With every member that Keylime's schema requires.
const std::string& Whole() {
  static const std::string json = absl::StrReplaceAll(
      R"({
  "meta": {"version": 1, "generator": 3, "timestamp": "2024-06-11"},
  "release": 12,
  "digests": {
    "/bin/sh": ["A256", "B256"],
    "/bin/none": []
  },
  "excludes": ["/tmp/.*"],
  "keyrings": {".ima": ["C256"]},
  "ima": {
    "ignored_keyrings": ["*"], "log_hash_alg": "sha256", "dm_policy": null
  },
  "ima-buf": {"kexec-cmdline": ["D256"]},
  "verification-keys": ""
}
)",
      {{"A256", HexDigits('a')},
       {"B256", HexDigits('b')},
       {"C256", HexDigits('c')},
       {"D256", HexDigits('d')}});
  return json;
}

// `Whole()` with one thing changed.
std::string Changed(absl::string_view from, absl::string_view to) {
  REQUIRE(absl::StrContains(Whole(), from));
  return absl::StrReplaceAll(Whole(), {{from, to}});
}

absl::Status ChangedStatus(absl::string_view from, absl::string_view to) {
  return Load(Changed(from, to)).status();
}

TEST_CASE("Every member of a runtime policy is read") {
  const auto policy = Load(Whole());
  REQUIRE_THAT(policy.status(), IsOk());
  CHECK(policy->meta_version == 1);
  CHECK(policy->meta_generator == 3);
  CHECK(policy->meta_timestamp == "2024-06-11");
  CHECK(policy->release == 12);
  CHECK(policy->digests.path_count() == 2);
  CHECK(policy->digests.Find("/bin/sh") ==
        std::vector{Digest::Filled(HashAlgorithm::kSha256, 0xaa),
                    Digest::Filled(HashAlgorithm::kSha256, 0xbb)});
  CHECK(policy->digests.Contains("/bin/none"));
  REQUIRE(policy->excludes.size() == 1);
  CHECK(policy->excludes[0].text == "/tmp/.*");
  CHECK(policy->excludes[0].origin == "p.json: excludes[0]");
  CHECK(policy->keyrings.at(".ima") == std::vector{HexDigits('c')});
  CHECK(policy->ignored_keyrings == std::vector<std::string>{"*"});
  CHECK(policy->log_hash_alg == "sha256");
  CHECK(policy->dm_policy_json.empty());
  CHECK(policy->buffers.at("kexec-cmdline") ==
        std::vector{Digest::Filled(HashAlgorithm::kSha256, 0xdd)});
  CHECK(policy->verification_keys.empty());
  CHECK(policy->warnings.empty());
  CHECK_THAT(ValidateSchema(*policy), IsOk());
}

TEST_CASE("The older JSON allowlist is read, with a warning") {
  const auto policy = Load(absl::StrCat(
      R"({"meta": {"version": 5}, "release": 0, "hashes": {"/a": [")",
      HexDigits('a'),
      R"("]}, "keyrings": {}, "ima": {"ignored_keyrings": []}, "ima-buf": {}})"));
  REQUIRE_THAT(policy.status(), IsOk());
  CHECK(policy->digests.Contains("/a"));
  REQUIRE(policy->warnings.size() == 1);
  CHECK(policy->warnings[0].code == "schema.legacy_form");
  CHECK_THAT(ValidateSchema(*policy), StatusIs(kInvalid, "hashes"));
  CHECK_THAT(Load(R"({"hashes": {}, "digests": {}})").status(),
             StatusIs(kInvalid, "both digests and hashes"));
}

TEST_CASE("A missing member is a warning, and fails the schema") {
  const std::pair<absl::string_view, absl::string_view> members[] = {
      {R"("release": 12,)", "release"},
      {R"("excludes": ["/tmp/.*"],)", "excludes"},
      {R"(, "generator": 3)", "meta.generator"},
      {R"("version": 1, )", "meta.version"},
      {R"("ignored_keyrings": ["*"], )", "ima.ignored_keyrings"},
      {R"("log_hash_alg": "sha256", )", "ima.log_hash_alg"},
      {R"(, "dm_policy": null)", "ima.dm_policy"},
      {R"(,
  "verification-keys": "")",
       "verification-keys"},
  };
  for (const auto& [text, name] : members) {
    INFO(name);
    const auto policy = Load(Changed(text, ""));
    REQUIRE_THAT(policy.status(), IsOk());
    REQUIRE(policy->warnings.size() == 1);
    CHECK(policy->warnings[0].code == "schema.missing_member");
    CHECK_THAT(ValidateSchema(*policy),
               StatusIs(kInvalid, absl::StrCat("p.json: ", name, " is miss")));
  }
}

TEST_CASE("A member of the wrong type is an error that names it") {
  const std::pair<std::pair<absl::string_view, absl::string_view>,
                  absl::string_view>
      cases[] = {
          {{R"({"version": 1, "generator": 3, "timestamp": "2024-06-11"})",
            "1"},
           "p.json:2: meta: must be an object"},
          {{R"("version": 1)", R"("version": "1")"},
           "p.json:2: meta.version: must be an integer"},
          {{R"("generator": 3)", R"("generator": 3.5)"},
           "meta.generator: must be an integer"},
          {{R"("2024-06-11")", "4"}, "meta.timestamp: must be a string"},
          {{R"("release": 12)", R"("release": null)"},
           "p.json:3: release: must be an integer"},
          {{R"("release": 12)", R"("release": 99999999999999999999)"},
           "p.json:3: release: must be an integer"},
          {{R"(["/tmp/.*"])", R"("/tmp/.*")"}, "excludes: must be an array"},
          {{R"(["/tmp/.*"])", "null"}, "excludes: must be an array"},
          {{R"(["/tmp/.*"])", "[[]]"}, "excludes[0]: must be a string"},
          {{R"("/bin/none": [])", R"("/bin/none": "x")"},
           "p.json:6: digests[\"/bin/none\"]: must be an array"},
          {{R"("/bin/none": [])", R"("/bin/none": [1])"},
           "p.json:6: digests[\"/bin/none\"][0]: must be a string"},
          {{R"({"kexec-cmdline": )", R"([)"}, "ima-buf: must be an object"},
          {{R"("ignored_keyrings": ["*"])", R"("ignored_keyrings": "*")"},
           "ima.ignored_keyrings: must be an array"},
          {{R"("log_hash_alg": "sha256")", R"("log_hash_alg": 1)"},
           "ima.log_hash_alg: must be a string"},
          {{R"("dm_policy": null)", R"("dm_policy": "x")"},
           "ima.dm_policy: must be null or an object"},
          {{R"("verification-keys": "")", R"("verification-keys": {})"},
           "verification-keys: must be a string"},
          {{R"({".ima": )", R"({".ima": 1, "x": )"},
           "keyrings[\".ima\"]: must be an array"},
      };
  for (const auto& [change, message] : cases) {
    INFO(message);
    CHECK_THAT(ChangedStatus(change.first, change.second),
               StatusIs(kInvalid, std::string(message)));
  }
}

TEST_CASE("A digest that could never match is an error that says what to do") {
  CHECK_THAT(ChangedStatus(HexDigits('b'), HexDigits('b', 38)),
             StatusIs(kInvalid, "p.json:5: digests[\"/bin/sh\"][1]: \"bbb"));
  CHECK_THAT(ChangedStatus(HexDigits('b'), HexDigits('B')),
             StatusIs(kInvalid, "upper-case hex; write \"" + HexDigits('b')));
  CHECK_THAT(ChangedStatus(HexDigits('b'), HexDigits('g')),
             StatusIs(kInvalid, "digests[\"/bin/sh\"][1]"));
  CHECK_THAT(ChangedStatus(HexDigits('c'), HexDigits('c', 10)),
             StatusIs(kInvalid, "keyrings[\".ima\"][0]"));
  CHECK_THAT(ChangedStatus(HexDigits('d'), HexDigits('d', 10)),
             StatusIs(kInvalid, "ima-buf[\"kexec-cmdline\"][0]"));
}

TEST_CASE("A digest may name its algorithm, which the schema does not know") {
  const auto policy = Load(Changed(HexDigits('b'), "sha256:" + HexDigits('b')));
  REQUIRE_THAT(policy.status(), IsOk());
  CHECK(policy->digests.Find("/bin/sh")[1] ==
        Digest::Filled(HashAlgorithm::kSha256, 0xbb));
  CHECK_THAT(ValidateSchema(*policy),
             StatusIs(kInvalid, "digests[\"/bin/sh\"][1]"));
}

TEST_CASE("A key twice in any object is refused") {
  const std::pair<absl::string_view, absl::string_view> cases[] = {
      {R"("release": 12)", R"("release": 12, "release": 12)"},
      {R"("version": 1)", R"("version": 1, "version": 1)"},
      {R"("/bin/none": [])", R"("/bin/sh": [])"},
      {R"("/bin/none": [])", R"("/bin/\u0073h": [])"},
      {R"("kexec-cmdline": [)", R"("kexec-cmdline": [], "kexec-cmdline": [)"},
      {R"({".ima": [)", R"({".ima": [], ".ima": [)"},
      {R"("dm_policy": null)", R"("dm_policy": null, "dm_policy": null)"},
      {R"("release": 12)", R"("x": 1, "x": 2)"},
  };
  for (const auto& [from, to] : cases) {
    INFO(to);
    CHECK_THAT(ChangedStatus(from, to),
               StatusIs(kInvalid, "stands there twice"));
  }
}

TEST_CASE("Unknown members are named and have no effect") {
  const auto policy = Load(Changed(
      R"("release": 12)", R"("release": 12, "digest": {"/x": [1, {}]})"));
  REQUIRE_THAT(policy.status(), IsOk());
  REQUIRE(policy->warnings.size() == 1);
  CHECK(policy->warnings[0].code == "policy.unknown_member");
  CHECK(policy->warnings[0].origin == "p.json: \"digest\"");
  CHECK_THAT(ValidateSchema(*policy), IsOk());
  for (const char* value : {"1", "-1.5e3", "true", "null", "\"a\\n\"", "[]",
                            "{}", "[[1],{\"a\":[]}]"}) {
    INFO(value);
    CHECK_THAT(ChangedStatus("\"release\": 12", absl::StrCat("\"x\": ", value)),
               IsOk());
  }
}

TEST_CASE("Unknown members are JSON all the same") {
  for (const char* value :
       {"tru", "nulll", "1.", "01", "[1,,2]", "[1 2]", "{\"a\"}", "{\"a\":}",
        "{\"a\":1,}", "[}", "{]", "'a'", "\"\\q\"", "", "-", "NaN"}) {
    INFO(value);
    CHECK_THAT(ChangedStatus("\"release\": 12", absl::StrCat("\"x\": ", value)),
               StatusIs(kInvalid));
  }
}

TEST_CASE("A file that says nothing is no policy") {
  for (const char* json :
       {"{}", R"({"meta": {"version": 1}})", R"({"ids": ["a"]})"}) {
    CHECK_THAT(Load(json).status(), StatusIs(kInvalid, "not a runtime policy"));
  }
  CHECK_THAT(Load("[]").status(), StatusIs(kInvalid, "must be a JSON object"));
  CHECK_THAT(Load("1").status(), StatusIs(kInvalid));
  CHECK_THAT(Load("").status(), StatusIs(kInvalid, "not valid JSON"));
  CHECK_THAT(Load("\xef\xbb\xbf{}").status(), StatusIs(kInvalid, "byte order"));
  CHECK_THAT(Load(R"({"excludes": ["/tmp/"]})").status(), IsOk());
}

TEST_CASE("Versions that are not known are refused") {
  CHECK_THAT(ChangedStatus("\"version\": 1", "\"version\": 2"),
             StatusIs(kInvalid, "meta.version: 2 is unknown"));
  CHECK_THAT(ChangedStatus("\"version\": 1", "\"version\": -1"),
             StatusIs(kInvalid, "meta.version"));
  CHECK_THAT(Load(R"({"meta": {"version": 6}, "hashes": {}})").status(),
             StatusIs(kInvalid, "meta.version"));
}

TEST_CASE("Odd values that run are warnings of the schema") {
  const auto negative = Load(Changed("\"release\": 12", "\"release\": -1"));
  REQUIRE_THAT(negative.status(), IsOk());
  CHECK(HasCode(*negative, "schema.release"));
  const auto hash = Load(Changed("\"sha256\"", "\"md5\""));
  REQUIRE_THAT(hash.status(), IsOk());
  CHECK(HasCode(*hash, "schema.log_hash_alg"));
  CHECK(hash->log_hash_alg == "md5");
  const auto dm =
      Load(Changed("\"dm_policy\": null", R"("dm_policy": {"a": [1, "}"]})"));
  REQUIRE_THAT(dm.status(), IsOk());
  CHECK(dm->dm_policy_json == R"({"a": [1, "}"]})");
  CHECK_THAT(ValidateSchema(*dm), StatusIs(kInvalid, "ima.dm_policy"));
}

TEST_CASE("SHA-1 digests are counted in a warning") {
  const auto policy = Load(Changed(HexDigits('b'), HexDigits('b', 40)));
  REQUIRE_THAT(policy.status(), IsOk());
  REQUIRE(policy->warnings.size() == 1);
  CHECK(policy->warnings[0].code == "digest.sha1");
  CHECK(absl::StartsWith(policy->warnings[0].message, "1 digests"));
  CHECK_THAT(ValidateSchema(*policy), IsOk());
}

TEST_CASE("One bad exclude fails the policy, and all bad ones are named") {
  const auto status =
      ChangedStatus("[\"/tmp/.*\"]", R"(["/a", "b[", "", "/c"])");
  CHECK_THAT(status, StatusIs(kInvalid, "p.json: excludes[1]: "));
  CHECK_THAT(status, StatusIs(kInvalid, "p.json: excludes[2]: "));
}

TEST_CASE("Excludes that are too wide are warned about") {
  const auto policy = Load(Changed("/tmp/.*", "/usr/bin"));
  REQUIRE_THAT(policy.status(), IsOk());
  CHECK(HasCode(*policy, "exclude.executables"));
  CHECK(HasCode(*policy, "exclude.prefix"));
}

TEST_CASE("verification-keys must be the text of a JSON object with keys") {
  const auto policy = Load(Changed(
      R"("verification-keys": "")",
      R"("verification-keys": "{\"meta\":{\"version\":1},\"keyids\":[1],)"
      R"(\"pubkeys\":[\"AA==\"]}")"));
  REQUIRE_THAT(policy.status(), IsOk());
  CHECK(policy->verification_keys ==
        R"({"meta":{"version":1},"keyids":[1],"pubkeys":["AA=="]})");
  for (const char* text : {"x", "[]", "{}", "{\\\"pubkeys\\\":1}", " "}) {
    INFO(text);
    CHECK_THAT(
        ChangedStatus(R"("verification-keys": "")",
                      absl::StrCat("\"verification-keys\": \"", text, "\"")),
        StatusIs(kInvalid, "verification-keys: must be"));
  }
  const std::string large((1 << 20) + 1, ' ');
  CHECK_THAT(
      ChangedStatus(R"("verification-keys": "")",
                    absl::StrCat("\"verification-keys\": \"", large, "\"")),
      StatusIs(kInvalid, "verification-keys: 1048577 bytes, limit 1048576"));
}

TEST_CASE("A deny list has digests, with or without path and reason") {
  const auto policy = Load(absl::StrCat(
      R"({"deny": {"digests": [")", HexDigits('a'), R"(", {"digest": ")",
      HexDigits('b'), R"(", "path": "/a", "reason": "CVE-2024-1"}]}})"));
  REQUIRE_THAT(policy.status(), IsOk());
  REQUIRE(policy->deny.size() == 2);
  CHECK(policy->deny[0].digest == Digest::Filled(HashAlgorithm::kSha256, 0xaa));
  CHECK(policy->deny[0].path.empty());
  CHECK(policy->deny[1].digest == Digest::Filled(HashAlgorithm::kSha256, 0xbb));
  CHECK(policy->deny[1].path == "/a");
  CHECK(policy->deny[1].reason == "CVE-2024-1");
  CHECK(policy->deny[1].origin == "p.json: deny.digests[1]");
}

TEST_CASE("A deny list that might not deny is an error") {
  const std::string hex = absl::StrCat("\"", HexDigits('a'), "\"");
  const std::pair<std::string, std::string> cases[] = {
      {R"({"digest": []})", "deny.digest: is unknown"},
      {R"([])", "deny: must be an object"},
      {R"({"digests": {}})", "deny.digests: must be an array"},
      {R"({"digests": [1]})", "deny.digests[0]: must be a string"},
      {R"({"digests": [{}]})", "deny.digests[0]: has no digest"},
      {R"({"digests": [{"path": "/a"}]})", "deny.digests[0]: has no digest"},
      {absl::StrCat(R"({"digests": [{"digest": )", hex, R"(, "x": 1}]})"),
       "deny.digests[0].x: is unknown"},
      {R"({"digests": ["ABC"]})", "deny.digests[0]: "},
  };
  for (const auto& [deny, message] : cases) {
    INFO(deny);
    CHECK_THAT(
        Load(absl::StrCat("{\"digests\": {}, \"deny\": ", deny, "}")).status(),
        StatusIs(kInvalid, message));
  }
}

TEST_CASE("Escapes in paths become bytes") {
  const auto path_of = [](absl::string_view text) {
    const auto policy =
        Load(absl::StrCat("{\"digests\": {\"", text, "\": []}}"));
    REQUIRE_THAT(policy.status(), IsOk());
    std::string only;
    policy->digests.ForEach(
        [&](absl::string_view path, std::span<const Digest>) {
          only = std::string(path);
        });
    return only;
  };
  CHECK(path_of(R"(/a\"\\\/\b\f\n\r\tb)") == "/a\"\\/\b\f\n\r\tb");
  CHECK(path_of(R"(/\u00e9\u20AC)") == "/\xc3\xa9\xe2\x82\xac");
  CHECK(path_of(R"(/\ud83d\ude00)") == "/\xf0\x9f\x98\x80");
  CHECK(path_of(R"(/\ud83d\udc80)") == "/\xf0\x9f\x92\x80");
  CHECK(path_of(R"(/\udcff\udc80x)") == "/\xff\x80x");
  CHECK(path_of("/\xc3\xa9") == "/\xc3\xa9");
  CHECK(path_of("/\x7f") == "/\x7f");
}

TEST_CASE("Paths that no file can have, and bad escapes, are errors") {
  const std::pair<std::string, std::string> cases[] = {
      {"", "empty path"},
      {"/a\\u0000b", "NUL in a path"},
      {"/\\ud83d", "half of a surrogate pair"},
      {"/\\ud83dx", "half of a surrogate pair"},
      {"/\\ud83d\\u0041", "half of a surrogate pair"},
      {"/\\udc7f", "half of a surrogate pair"},
      {"/\\udd00", "half of a surrogate pair"},
      {"/\\u12g4", "four hex digits"},
      {"/\\u12", "four hex digits"},
      {"/\\q", "does not escape"},
      {"/\xff", "not valid JSON"},
      {"/a\nb", "not valid JSON"},
      {std::string(kMaxPathSize + 1, '/'), "8193 bytes, limit 8192"},
  };
  for (const auto& [text, message] : cases) {
    INFO(text.substr(0, 40));
    CHECK_THAT(
        Load(absl::StrCat("{\"digests\": {\"", text, "\": []}}")).status(),
        StatusIs(kInvalid, message));
  }
}

TEST_CASE("Two spellings of one path are one path twice") {
  CHECK_THAT(Load("{\"digests\": {\"/\xc3\xa9\": [], \"/\\udcc3\\udca9\": []}}")
                 .status(),
             StatusIs(kInvalid, "stands there twice"));
}

TEST_CASE("Errors give the line, and escape what they show") {
  CHECK_THAT(Load("{\"digests\": {\n\"/a\\u001b[2J\": [\n\"x\"]}}").status(),
             StatusIs(kInvalid, "p.json:3: digests[\"/a\\x1b[2J\"][0]"));
  CHECK_THAT(Load("{\"digests\": {},\n\n\"excludes\": [}\n").status(),
             StatusIs(kInvalid, "p.json"));
}

TEST_CASE("Every prefix of a policy is refused, and so is what follows it") {
  for (size_t size = 0; size + 2 < Whole().size(); ++size) {
    INFO(size);
    REQUIRE_THAT(Load(Whole().substr(0, size)).status(), StatusIs(kInvalid));
  }
  for (const char* tail : {"x", "{}", ",", "}", "]", "1", "\"\"", "\xff"}) {
    INFO(tail);
    CHECK_THAT(Load(Whole() + tail).status(), StatusIs(kInvalid));
  }
  CHECK_THAT(Load(Whole() + " \t\r\n").status(), IsOk());
}

TEST_CASE("Deep nesting is no danger") {
  const std::string deep =
      absl::StrCat(std::string(200000, '['), std::string(200000, ']'));
  CHECK_THAT(
      Load(absl::StrCat("{\"digests\": {}, \"x\": ", deep, "}")).status(),
      IsOk());
  CHECK_THAT(
      Load(absl::StrCat("{\"digests\": {}, \"x\": ", std::string(200000, '[')))
          .status(),
      StatusIs(kInvalid));
}

TEST_CASE("A policy's content address is the SHA-256 of the file") {
  const auto loaded = Load("{\"digests\": {}}");
  REQUIRE_THAT(loaded.status(), IsOk());
  CHECK(loaded->content_id == PolicyContentId(AsBytes("{\"digests\": {}}")));
  CHECK(PolicyContentId(AsBytes("abc")) ==
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST_CASE("A policy's content address changes with every byte") {
  const auto id = [](const std::string& json) {
    const auto policy = Load(json);
    REQUIRE_THAT(policy.status(), IsOk());
    return policy->content_id;
  };
  CHECK(id(Whole()).size() == 64);
  CHECK(id(Whole()) == id(Whole()));
  CHECK(id(Whole()) != id(Whole() + "\n"));
  CHECK(RuntimePolicy().content_id.empty());
}

TEST_CASE("Digests that anyone can make clear nothing, but may deny") {
  for (const char* digest :
       {"md4:0123456789abcdef0123456789abcdef",
        "md5:0123456789abcdef0123456789abcdef",
        "rmd160:0123456789abcdef0123456789abcdef01234567"}) {
    INFO(digest);
    for (const char* member : {"digests", "keyrings", "ima-buf"}) {
      CHECK_THAT(Load(absl::StrCat("{\"", member, "\": {\n\"/a\": [\"", digest,
                                   "\"]}}"))
                     .status(),
                 StatusIs(kInvalid,
                          absl::StrCat("p.json:2: ", member, "[\"/a\"][0]: ")));
    }
    CHECK_THAT(Load(absl::StrCat("{\"digests\": {\"/a\": [\"", digest, "\"]}}"))
                   .status(),
               StatusIs(kInvalid, "list its SHA-256"));
    const auto plain =
        Load(absl::StrCat("{\"deny\": {\"digests\": [\"", digest, "\"]}}"));
    REQUIRE_THAT(plain.status(), IsOk());
    CHECK(plain->deny.size() == 1);
    const auto rule = Load(absl::StrCat(
        "{\"deny\": {\"digests\": [{\"digest\": \"", digest, "\"}]}}"));
    REQUIRE_THAT(rule.status(), IsOk());
    CHECK(rule->deny.size() == 1);
  }
}

TEST_CASE("Origins are raw in what is loaded, and escaped in errors") {
  const auto load = [](const std::string& json) {
    return LoadPolicyFile(ToVector(AsBytes(json)),
                          {.origin = "p\x1b", .key = std::nullopt});
  };
  const auto policy = load(
      "{\"excludes\": [\"/a\"], \"b\\u001b\": 1, \"deny\": "
      "{\"digests\": [\"" +
      std::string(64, 'a') + "\"]}}");
  REQUIRE_THAT(policy.status(), IsOk());
  CHECK(policy->excludes.at(0).origin == "p\x1b: excludes[0]");
  CHECK(policy->deny.at(0).origin == "p\x1b: deny.digests[0]");
  CHECK(std::ranges::any_of(policy->warnings, [](const PolicyWarning& w) {
    return w.code == "policy.unknown_member";
  }));
  for (const PolicyWarning& warning : policy->warnings) {
    CHECK(absl::StartsWith(warning.origin, "p\x1b: "));
    if (warning.code != "policy.unknown_member") continue;
    CHECK(warning.origin == "p\x1b: \"b\x1b\"");
  }
  CHECK_THAT(ValidateSchema(*policy), StatusIs(kInvalid, "p\\x1b: meta is"));
  CHECK(ValidateSchema(*policy).message().find('\x1b') == std::string::npos);
  CHECK_THAT(load("{\"deny\": {\"\\u001b\": []}}").status(),
             StatusIs(kInvalid, "p\\x1b:1: deny.\\x1b: is unknown"));
}

}  // namespace
}  // namespace cupel::policy
