#include "common/policy/policy_writer.h"

#include <random>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "common/policy/allowlist.h"
#include "common/policy/exclude_list.h"
#include "common/policy/policy_file.h"
#include "common/util/bytes.h"
#include "tests/support/policy_schema.h"
#include "tests/support/status_matchers.h"

namespace cupel::policy {
namespace {

using crypto::Digest;
using crypto::HashAlgorithm;
using testing::IsOk;
using testing::StatusIs;
using testing::ValidateSchema;

std::string Rewritten(const std::string& json) {
  const auto policy = LoadPolicyFile(ToVector(AsBytes(json)),
                                     {.origin = "p", .key = std::nullopt});
  REQUIRE_THAT(policy.status(), IsOk());
  return WritePolicyJson(*policy);
}

RuntimePolicy FullPolicy() {
  RuntimePolicy policy;
  policy.meta_version = 1;
  policy.meta_generator = 4;
  policy.meta_timestamp = "now \"then\"";
  policy.release = 3;
  DigestTable::Builder builder;
  const auto add = [&](absl::string_view path, HashAlgorithm algorithm) {
    REQUIRE_THAT(builder.Add(path, Digest::Filled(algorithm, 0xab)), IsOk());
  };
  add("/z", HashAlgorithm::kSha256);
  add("/a\n\\\"\x01\x7f", HashAlgorithm::kSha1);
  add("/\xc3\xa9\xff\xed\xa0\x80\xf0\x9f\x98\x80", HashAlgorithm::kSha512);
  add("/z", HashAlgorithm::kSm3_256);
  REQUIRE_THAT(builder.AddPath("/none"), IsOk());
  policy.digests = std::move(builder).Build();
  policy.excludes = {{"/tmp/.*", "x"}, {"/\\.[a-z]+\xc3\xa9$", "x"}};
  policy.deny = {
      {Digest::Filled(HashAlgorithm::kSha256, 1), "", "", "x"},
      {Digest::Filled(HashAlgorithm::kSha1, 2), "/\xff", "old", "x"}};
  policy.keyrings[".ima"] = {std::string(64, 'c')};
  policy.buffers["kexec-cmdline"] = {
      Digest::Filled(HashAlgorithm::kSha256, 0xdd)};
  policy.ignored_keyrings = {"*", ".evm"};
  policy.log_hash_alg = "sha256";
  policy.dm_policy_json = R"({"version": 1})";
  policy.verification_keys = R"({"pubkeys":[]})";
  return policy;
}

TEST_CASE("What is written is read back as the same policy") {
  const RuntimePolicy policy = FullPolicy();
  const std::string json = WritePolicyJson(policy);
  const auto loaded = LoadPolicyFile(ToVector(AsBytes(json)),
                                     {.origin = "p", .key = std::nullopt});
  REQUIRE_THAT(loaded.status(), IsOk());
  CHECK(loaded->meta_generator == policy.meta_generator);
  CHECK(loaded->meta_timestamp == policy.meta_timestamp);
  CHECK(loaded->release == policy.release);
  CHECK(loaded->digests.path_count() == policy.digests.path_count());
  policy.digests.ForEach(
      [&](absl::string_view path, std::span<const Digest> digests) {
        CHECK(loaded->digests.Contains(path));
        CHECK(loaded->digests.Find(path) ==
              std::vector<Digest>(digests.begin(), digests.end()));
      });
  REQUIRE(loaded->excludes.size() == 2);
  CHECK(loaded->excludes[1].text == policy.excludes[1].text);
  REQUIRE(loaded->deny.size() == 2);
  CHECK(loaded->deny[1].digest == policy.deny[1].digest);
  CHECK(loaded->deny[1].path == policy.deny[1].path);
  CHECK(loaded->deny[1].reason == policy.deny[1].reason);
  CHECK(loaded->keyrings == policy.keyrings);
  CHECK(loaded->buffers == policy.buffers);
  CHECK(loaded->ignored_keyrings == policy.ignored_keyrings);
  CHECK(loaded->log_hash_alg == policy.log_hash_alg);
  CHECK(loaded->dm_policy_json == policy.dm_policy_json);
  CHECK(loaded->verification_keys == policy.verification_keys);
  CHECK(WritePolicyJson(*loaded) == json);
}

TEST_CASE("An empty policy is written with all that the schema requires") {
  const std::string json = WritePolicyJson(RuntimePolicy());
  const auto loaded = LoadPolicyFile(ToVector(AsBytes(json)),
                                     {.origin = "p", .key = std::nullopt});
  REQUIRE_THAT(loaded.status(), IsOk());
  CHECK_THAT(ValidateSchema(*loaded), IsOk());
  CHECK(WritePolicyJson(*loaded) == json);
}

TEST_CASE("The order of the input does not show in the output") {
  const std::string hex(64, 'a');
  const auto json = [&](absl::string_view first, absl::string_view second) {
    return absl::StrCat("{\"digests\": {\"", first, "\": [\"", hex, "\"], \"",
                        second, "\": [\"", hex, "\"]}}");
  };
  CHECK(Rewritten(json("/a", "/b")) == Rewritten(json("/b", "/a")));
  CHECK(Rewritten(json("/a", "/b")) != Rewritten(json("/a", "/c")));
}

TEST_CASE("Random paths survive JSON and text") {
  std::mt19937_64 random(7);
  DigestTable::Builder builder;
  // Bytes that one of the formats treats in a special way, and others.
  const std::string alphabet =
      "/a \t*\\\n\r\"#\x01\x7f\x80\xc3\xa9\xe2\x82\xac\xed\xa0\xff";
  for (int i = 0; i < 2000; ++i) {
    std::string path;
    const uint64_t size = 1 + random() % 8;
    for (uint64_t j = 0; j < size; ++j) {
      path.push_back(alphabet[random() % alphabet.size()]);
    }
    REQUIRE_THAT(
        builder.Add(path, Digest::Filled(HashAlgorithm::kSha256,
                                         static_cast<uint8_t>(random()))),
        IsOk());
  }
  RuntimePolicy policy;
  policy.digests = std::move(builder).Build();

  const std::string json = WritePolicyJson(policy);
  const auto from_json = LoadPolicyFile(ToVector(AsBytes(json)),
                                        {.origin = "p", .key = std::nullopt});
  REQUIRE_THAT(from_json.status(), IsOk());
  const std::string text = WriteAllowlist(policy.digests);
  const auto from_text = ParseAllowlist(text, "t");
  REQUIRE_THAT(from_text.status(), IsOk());
  for (const RuntimePolicy* other : {&*from_json, &*from_text}) {
    CHECK(other->digests.path_count() == policy.digests.path_count());
    policy.digests.ForEach(
        [&](absl::string_view path, std::span<const Digest> digests) {
          REQUIRE(other->digests.Find(path) ==
                  std::vector<Digest>(digests.begin(), digests.end()));
        });
  }
  CHECK(WriteAllowlist(from_text->digests) == text);
  CHECK(WritePolicyJson(*from_json) == json);
}

TEST_CASE("An allowlist is written as sha256sum would") {
  DigestTable::Builder builder;
  const Digest digest = Digest::Filled(HashAlgorithm::kSha256, 0xaa);
  for (const char* path : {"/b", "/a\nb\\", " /c", "/b"}) {
    REQUIRE_THAT(builder.Add(path, digest), IsOk());
  }
  REQUIRE_THAT(builder.AddPath("/none"), IsOk());
  const std::string hex(64, 'a');
  const std::string text = WriteAllowlist(std::move(builder).Build());
  CHECK(text == absl::StrCat(hex, " * /c\n", "\\", hex, "  /a\\nb\\\\\n", hex,
                             "  /b\n"));
}

TEST_CASE("Excludes are written a line each, if each is one line") {
  const std::vector<ExcludePattern> patterns = {{"/tmp/.*", "a"},
                                                {"/\xff ", "b"}};
  const auto text = WriteExcludeList(patterns);
  REQUIRE_THAT(text.status(), IsOk());
  CHECK(*text == "/tmp/.*\n/\xff \n");
  const auto list = ParseExcludeList(*text, "e");
  REQUIRE_THAT(list.status(), IsOk());
  REQUIRE(list->patterns.size() == 2);
  CHECK(list->patterns[1].text == "/\xff ");
  for (const char* bad : {"/a\nb", "/a\r", "", " "}) {
    const std::vector<ExcludePattern> one = {{bad, "p: excludes[3]"}};
    CHECK_THAT(WriteExcludeList(one).status(),
               StatusIs(absl::StatusCode::kInvalidArgument, "p: excludes[3]"));
  }
}

}  // namespace
}  // namespace cupel::policy
