#include "common/appraisal/reference_values.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "catch2/catch.hpp"
#include "common/appraisal/appraise.h"
#include "common/policy/compiled_policy.h"
#include "common/util/bytes.h"
#include "tests/support/list_builder.h"
#include "tests/support/status_matchers.h"

namespace cupel::appraisal {
namespace {

using ::cupel::crypto::Digest;
using ::cupel::crypto::HashAlgorithm;
using ::cupel::policy::RuntimePolicy;
using ::cupel::testing::DigestNg;
using ::cupel::testing::Field;
using ::cupel::testing::FileDigestOf;
using ::cupel::testing::IsOk;
using ::cupel::testing::ListBuilder;
using ::cupel::testing::NameNg;
using ::cupel::testing::StatusIs;
using ::cupel::testing::StatusOf;

RuntimePolicy Make(const ListBuilder& list, ListPolicyOptions options = {}) {
  auto policy = MakePolicyFromList(list.bytes(), {}, options);
  REQUIRE_THAT(StatusOf(policy), IsOk());
  return *std::move(policy);
}

using Digests = std::map<std::string, std::vector<std::string>>;

Digests DigestsOf(const RuntimePolicy& policy) {
  Digests digests;
  policy.digests.ForEach(
      [&](absl::string_view path, std::span<const Digest> listed) {
        for (const Digest& digest : listed) {
          digests[std::string(path)].push_back(digest.Hex());
        }
      });
  return digests;
}

std::vector<std::string> Codes(const RuntimePolicy& policy) {
  std::vector<std::string> codes;
  for (const auto& warning : policy.warnings) codes.push_back(warning.code);
  return codes;
}

using List = std::vector<std::string>;

// ima-ng with these contents of d-ng and n-ng.
ListBuilder& AddNg(ListBuilder& list, std::span<const uint8_t> digest,
                   std::span<const uint8_t> name) {
  std::vector<uint8_t> data = Field(digest);
  Append(data, Field(name));
  return list.Add(10, "ima-ng", data);
}

TEST_CASE("A list's files become a policy, each with all its digests") {
  ListBuilder list;
  list.AddFile("boot_aggregate", FileDigestOf("boot"))
      .AddFile("/bin/a", FileDigestOf("a1"))
      .AddFile("/bin/b", FileDigestOf("b", HashAlgorithm::kSha512))
      .AddFile("/bin/a", FileDigestOf("a2"))
      .AddFile("/bin/a", FileDigestOf("a1"))
      .AddFile("/bin/c", FileDigestOf("c"), /*pcr=*/11)
      .AddSigned("/bin/d", FileDigestOf("d"), AsBytes("\x03signature"))
      .AddFile("memfd:x", FileDigestOf("m"));
  const RuntimePolicy policy = Make(list);
  CHECK(
      DigestsOf(policy) ==
      Digests{{"/bin/a", {FileDigestOf("a1").Hex(), FileDigestOf("a2").Hex()}},
              {"/bin/b", {FileDigestOf("b", HashAlgorithm::kSha512).Hex()}},
              {"/bin/c", {FileDigestOf("c").Hex()}},
              {"/bin/d", {FileDigestOf("d").Hex()}},
              {"memfd:x", {FileDigestOf("m").Hex()}}});
  CHECK(Codes(policy).empty());
}

TEST_CASE("boot_aggregate is listed on request alone") {
  ListBuilder list;
  list.AddFile("boot_aggregate", FileDigestOf("boot"))
      .AddFile("/bin/a", FileDigestOf("a"))
      .AddFile("boot_aggregate_late", FileDigestOf("late"));
  CHECK(DigestsOf(Make(list)) ==
        Digests{{"/bin/a", {FileDigestOf("a").Hex()}}});
  const RuntimePolicy with = Make(list, {.include_boot_aggregate = true});
  CHECK(DigestsOf(with) ==
        Digests{{"boot_aggregate", {FileDigestOf("boot").Hex()}},
                {"/bin/a", {FileDigestOf("a").Hex()}},
                {"boot_aggregate_late", {FileDigestOf("late").Hex()}}});
  CHECK(Codes(with).empty());
}

TEST_CASE("The list passes by the policy that was made from it") {
  ListBuilder list;
  list.AddFile("boot_aggregate", FileDigestOf("boot"))
      .AddFile("/bin/a", FileDigestOf("a"))
      .AddFile("/bin/b", FileDigestOf("b"));
  const auto compiled = policy::CompiledPolicy::Create(
      {{std::make_shared<const RuntimePolicy>(
            Make(list, {.include_boot_aggregate = true})),
        true}});
  REQUIRE_THAT(StatusOf(compiled), IsOk());
  Reference reference;
  reference.policy = *compiled;
  Evidence evidence;
  evidence.list.bytes = list.bytes();
  const auto good = Appraise(evidence, {}, reference);
  REQUIRE_THAT(StatusOf(good), IsOk());
  CHECK(good->verdict == Verdict::kPass);
  CHECK(good->counts.good == 3);

  list.AddFile("/bin/a", FileDigestOf("b"));
  evidence.list.bytes = list.bytes();
  const auto changed = Appraise(evidence, {}, reference);
  REQUIRE_THAT(StatusOf(changed), IsOk());
  CHECK(changed->verdict == Verdict::kFail);
  CHECK(changed->counts.digest_mismatch == 1);
}

TEST_CASE("What proves no file's content is left out with a warning") {
  ListBuilder list;
  list.AddFile("/bin/a", FileDigestOf("a"));
  std::string code;
  SECTION("a violation") {
    list.AddViolation("/bin/x");
    code = "list.violation";
  }
  SECTION("a zero digest") {
    list.AddFile("/bin/x", Digest(HashAlgorithm::kSha256));
    code = "list.digest_zero";
  }
  SECTION("a buffer, even one named like a file") {
    list.AddBuffer("/bin/x", AsBytes("buffer"));
    code = "list.buffer";
  }
  SECTION("an unknown algorithm") {
    AddNg(list, AsBytes(absl::string_view("new:\0digest", 11)),
          NameNg("/bin/x"));
    code = "list.digest";
  }
  SECTION("fs-verity") {
    std::vector<uint8_t> digest = ToVector(AsBytes("verity:"));
    Append(digest, DigestNg(FileDigestOf("x")));
    std::vector<uint8_t> data = Field(digest);
    Append(data, Field(NameNg("/bin/x")));
    list.Add(10, "ima-ngv2", data);
    code = "list.digest";
  }
  SECTION("no digest") {
    list.Add(10, "n-ng", Field(NameNg("/bin/x")));
    code = "list.digest";
  }
  SECTION("an unknown template") {
    list.Add(10, "ima-new", Field(NameNg("/bin/x")));
    code = "list.template";
  }
  SECTION("fields that do not fit the template") {
    list.Add(10, "ima-ng", Field(NameNg("/bin/x")));
    code = "list.template";
  }
  SECTION("an algorithm that proves nothing any more") {
    AddNg(list, DigestNg(Digest(Digest::Filled(HashAlgorithm::kMd5, 0x5a))),
          NameNg("/bin/x"));
    code = "list.digest_weak";
  }
  SECTION("no path") {
    AddNg(list, DigestNg(FileDigestOf("x")), NameNg(""));
    code = "list.path";
  }
  const RuntimePolicy policy = Make(list, {.origin = "l\n"});
  CHECK(DigestsOf(policy) == Digests{{"/bin/a", {FileDigestOf("a").Hex()}}});
  CHECK(Codes(policy) == List{code});
  CHECK(policy.warnings.at(0).origin == "l\n: entry 1");
}

TEST_CASE("Buffers are listed by name where they are wanted") {
  const std::vector<uint8_t> key = ToVector(AsBytes("a key"));
  const std::vector<uint8_t> other = ToVector(AsBytes("another key"));
  const ListPolicyOptions wanted = {.include_buffers = true};
  ListBuilder list;
  list.AddFile("/bin/a", FileDigestOf("a"))
      .AddBuffer(".ima", key)
      .AddBuffer(".ima", other)
      .AddBuffer(".ima", key);
  const RuntimePolicy policy = Make(list, wanted);
  CHECK(DigestsOf(policy) == Digests{{"/bin/a", {FileDigestOf("a").Hex()}}});
  CHECK(Codes(policy).empty());
  REQUIRE(policy.buffers.size() == 1);
  CHECK(policy.buffers.at(".ima") ==
        std::vector<Digest>{crypto::Hash(HashAlgorithm::kSha256, key),
                            crypto::Hash(HashAlgorithm::kSha256, other)});

  // A digest that is not that of the bytes beside it is nobody's.
  list.AddBuffer(".evm", key, FileDigestOf("x"));
  const RuntimePolicy same = Make(list, wanted);
  CHECK(same.buffers == policy.buffers);
  CHECK(Codes(same) == List{"list.buffer"});
}

TEST_CASE("An entry whose digest column was changed is left out") {
  ListBuilder list;
  list.AddFile("/bin/a", FileDigestOf("a"))
      .AddFile("/bin/x", FileDigestOf("x"));
  std::vector<uint8_t> bytes = list.bytes();
  bytes.at(list.offsets().at(1) + 4) ^= 1;
  const auto policy = MakePolicyFromList(bytes, {}, {});
  REQUIRE_THAT(StatusOf(policy), IsOk());
  CHECK(DigestsOf(*policy) == Digests{{"/bin/a", {FileDigestOf("a").Hex()}}});
  CHECK(Codes(*policy) == List{"list.template_digest"});
}

TEST_CASE("A boot_aggregate of zeros is never listed") {
  ListBuilder list;
  list.AddFile("boot_aggregate", Digest(HashAlgorithm::kSha256))
      .AddFile("/bin/a", FileDigestOf("a"));
  const RuntimePolicy policy = Make(list, {.include_boot_aggregate = true});
  CHECK(DigestsOf(policy) == Digests{{"/bin/a", {FileDigestOf("a").Hex()}}});
  CHECK(Codes(policy) == List{"list.digest_zero"});
}

TEST_CASE("A policy that lists nothing, or SHA-1 digests, says so") {
  CHECK(Codes(Make(ListBuilder())) == List{"list.empty"});
  ListBuilder list;
  list.AddLegacy("/bin/a", FileDigestOf("a", HashAlgorithm::kSha1))
      .AddLegacy("/bin/a", FileDigestOf("a", HashAlgorithm::kSha1));
  const RuntimePolicy policy = Make(list);
  CHECK(DigestsOf(policy) ==
        Digests{{"/bin/a", {FileDigestOf("a", HashAlgorithm::kSha1).Hex()}}});
  REQUIRE(Codes(policy) == List{"digest.sha1"});
  CHECK(policy.warnings.at(0).message.substr(0, 2) == "1 ");
}

TEST_CASE("A list that is cut is an error, not a shorter policy") {
  ListBuilder list;
  list.AddFile("/bin/a", FileDigestOf("a"))
      .AddFile("/bin/b", FileDigestOf("b"));
  const std::span<const uint8_t> bytes = list.bytes();
  for (size_t size = 0; size < bytes.size(); ++size) {
    CAPTURE(size);
    const auto policy = MakePolicyFromList(bytes.first(size), {}, {});
    if (size == 0 || size == list.offsets().at(1)) {
      CHECK_THAT(StatusOf(policy), IsOk());
    } else {
      CHECK_THAT(StatusOf(policy),
                 StatusIs(absl::StatusCode::kInvalidArgument));
    }
  }
}

}  // namespace
}  // namespace cupel::appraisal
