#include "common/policy/compiled_policy.h"

#include <string>
#include <utility>

#include "catch2/catch.hpp"
#include "tests/support/status_matchers.h"

namespace cupel::policy {
namespace {

using crypto::Digest;
using crypto::HashAlgorithm;
using testing::IsOk;
using testing::StatusIs;

Digest Filled(uint8_t fill) {
  return Digest::Filled(HashAlgorithm::kSha256, fill);
}

std::shared_ptr<RuntimePolicy> PolicyOf(
    const std::vector<std::pair<std::string, Digest>>& digests) {
  auto policy = std::make_shared<RuntimePolicy>();
  DigestTable::Builder builder;
  for (const auto& [path, digest] : digests) {
    REQUIRE_THAT(builder.Add(path, digest), IsOk());
  }
  policy->digests = std::move(builder).Build();
  return policy;
}

DigestMatch Match(const CompiledPolicy& policy, absl::string_view path,
                  const Digest& digest) {
  return policy.MatchDigest(path, digest.algorithm(), digest.bytes());
}

TEST_CASE("Without policies nothing is listed, denied or excluded") {
  const auto compiled = CompiledPolicy::Create({});
  REQUIRE_THAT(compiled.status(), IsOk());
  const CompiledPolicy& policy = **compiled;
  CHECK(Match(policy, "/a", Filled(1)) == DigestMatch::kUnlisted);
  CHECK(policy.FindDeny(HashAlgorithm::kSha256, Filled(1).bytes()) == nullptr);
  CHECK_FALSE(policy.IsExcluded("/a"));
  CHECK(policy.MatchBuffer("x", HashAlgorithm::kSha256, Filled(1).bytes()) ==
        DigestMatch::kUnlisted);
}

TEST_CASE("An assignment without a policy is refused") {
  CHECK_THAT(CompiledPolicy::Create({PolicyAssignment{}}).status(),
             StatusIs(absl::StatusCode::kInvalidArgument, "without a policy"));
}

TEST_CASE("Digests of all policies unite") {
  const auto base = PolicyOf({{"/a", Filled(1)}, {"/b", Filled(2)}});
  const auto site = PolicyOf({{"/a", Filled(3)}, {"/a", Filled(1)}});
  const auto compiled = CompiledPolicy::Create({{base}, {site}});
  REQUIRE_THAT(compiled.status(), IsOk());
  const CompiledPolicy& policy = **compiled;
  CHECK(Match(policy, "/a", Filled(1)) == DigestMatch::kListed);
  CHECK(Match(policy, "/a", Filled(3)) == DigestMatch::kListed);
  CHECK(Match(policy, "/a", Filled(2)) == DigestMatch::kMismatch);
  CHECK(Match(policy, "/b", Filled(2)) == DigestMatch::kListed);
  CHECK(Match(policy, "/b", Filled(3)) == DigestMatch::kMismatch);
  CHECK(Match(policy, "/c", Filled(1)) == DigestMatch::kUnlisted);
  CHECK(policy.FindDigests("/a") == std::vector{Filled(1), Filled(3)});
  CHECK(policy.FindDigests("/c").empty());
  const uint32_t hash = CompiledPolicy::HashPath("/a");
  policy.Prefetch(hash);
  policy.PrefetchRecord(hash);
}

TEST_CASE("A deny from any policy is found, by digest and algorithm alone") {
  const auto base = PolicyOf({{"/a", Filled(1)}});
  const auto denies = std::make_shared<RuntimePolicy>();
  denies->deny.push_back({Filled(1), "/old/a", "CVE", "deny.json: deny"});
  denies->deny.push_back({Filled(1), "/second", "", "second"});
  const auto compiled = CompiledPolicy::Create(
      {{base}, {.policy = denies, .allow_excludes = false}});
  REQUIRE_THAT(compiled.status(), IsOk());
  const CompiledPolicy& policy = **compiled;
  const DenyRule* rule =
      policy.FindDeny(HashAlgorithm::kSha256, Filled(1).bytes());
  REQUIRE(rule != nullptr);
  CHECK(rule->path == "/old/a");
  CHECK(policy.FindDeny(HashAlgorithm::kSm3_256, Filled(1).bytes()) == nullptr);
  CHECK(policy.FindDeny(HashAlgorithm::kSha256, Filled(2).bytes()) == nullptr);
  CHECK(policy.FindDeny(HashAlgorithm::kSha256, Filled(1).bytes().first(31)) ==
        nullptr);
  // The other rule of trust is the caller's: it asks FindDeny first.
  CHECK(Match(policy, "/a", Filled(1)) == DigestMatch::kListed);
}

TEST_CASE("Excludes count only from assignments that may have them") {
  const auto policy = std::make_shared<RuntimePolicy>();
  policy->excludes.push_back({"/tmp/.*", "p: excludes[0]"});
  const auto allowed = CompiledPolicy::Create({{policy, true}});
  REQUIRE_THAT(allowed.status(), IsOk());
  CHECK((*allowed)->IsExcluded("/tmp/x"));
  CHECK_FALSE((*allowed)->IsExcluded("/usr/tmp/x"));

  const auto denied = CompiledPolicy::Create({{policy, false}});
  REQUIRE_THAT(denied.status(), IsOk());
  CHECK_FALSE((*denied)->IsExcluded("/tmp/x"));
}

TEST_CASE("A bad pattern fails the whole, and is named") {
  const auto policy = std::make_shared<RuntimePolicy>();
  policy->excludes.push_back({"/tmp/.*", "p: excludes[0]"});
  policy->excludes.push_back({"/a(?=b)", "p: excludes[1]"});
  CHECK_THAT(CompiledPolicy::Create({{policy}}).status(),
             StatusIs(absl::StatusCode::kInvalidArgument, "p: excludes[1]"));
  // Where its excludes don't count it does no harm.
  CHECK_THAT(CompiledPolicy::Create({{policy, false}}).status(), IsOk());
}

TEST_CASE("Buffers unite by name") {
  const auto first = std::make_shared<RuntimePolicy>();
  first->buffers["kexec-cmdline"] = {Filled(1)};
  const auto second = std::make_shared<RuntimePolicy>();
  second->buffers["kexec-cmdline"] = {Filled(2)};
  const auto compiled = CompiledPolicy::Create({{first}, {second}});
  REQUIRE_THAT(compiled.status(), IsOk());
  const auto match = [&](absl::string_view name, const Digest& digest) {
    return (*compiled)->MatchBuffer(name, digest.algorithm(), digest.bytes());
  };
  CHECK(match("kexec-cmdline", Filled(1)) == DigestMatch::kListed);
  CHECK(match("kexec-cmdline", Filled(2)) == DigestMatch::kListed);
  CHECK(match("kexec-cmdline", Filled(3)) == DigestMatch::kMismatch);
  CHECK(match("kexec-cmdline", Digest::Filled(HashAlgorithm::kSm3_256, 1)) ==
        DigestMatch::kMismatch);
  CHECK(match("selinux-state", Filled(1)) == DigestMatch::kUnlisted);
}

TEST_CASE("A key is a buffer that its keyring lists") {
  const auto first = std::make_shared<RuntimePolicy>();
  first->keyrings[".ima"] = {Filled(1).Hex()};
  first->keyrings[".evm"] = {};
  const auto second = std::make_shared<RuntimePolicy>();
  second->keyrings[".ima"] = {"sm3:" +
                              Digest::Filled(HashAlgorithm::kSm3_256, 4).Hex()};
  second->buffers[".ima"] = {Filled(2)};
  const auto compiled = CompiledPolicy::Create({{first}, {second}});
  REQUIRE_THAT(compiled.status(), IsOk());
  const auto match = [&](absl::string_view name, const Digest& digest) {
    return (*compiled)->MatchBuffer(name, digest.algorithm(), digest.bytes());
  };
  CHECK(match(".ima", Filled(1)) == DigestMatch::kListed);
  CHECK(match(".ima", Filled(2)) == DigestMatch::kListed);
  CHECK(match(".ima", Filled(3)) == DigestMatch::kMismatch);
  CHECK(match(".ima", Filled(4)) == DigestMatch::kMismatch);
  CHECK(match(".ima", Digest::Filled(HashAlgorithm::kSm3_256, 1)) ==
        DigestMatch::kMismatch);
  CHECK(match(".ima", Digest::Filled(HashAlgorithm::kSm3_256, 4)) ==
        DigestMatch::kListed);
  CHECK((*compiled)->MatchBuffer(".ima", HashAlgorithm::kSha256,
                                 Filled(1).bytes().first(31)) ==
        DigestMatch::kMismatch);
  CHECK(match(".evm", Filled(1)) == DigestMatch::kMismatch);
  CHECK(match("ima", Filled(1)) == DigestMatch::kUnlisted);
}

TEST_CASE("A compiled policy outlives the caller's policies") {
  std::shared_ptr<const CompiledPolicy> compiled;
  {
    const auto policy = PolicyOf({{"/a", Filled(1)}});
    policy->deny.push_back({Filled(7), "", "", "here"});
    compiled = *CompiledPolicy::Create({{policy}});
  }
  CHECK(Match(*compiled, "/a", Filled(1)) == DigestMatch::kListed);
  CHECK(compiled->FindDeny(HashAlgorithm::kSha256, Filled(7).bytes())->origin ==
        "here");
}

std::string ContentId(std::vector<PolicyAssignment> policies) {
  const auto compiled = CompiledPolicy::Create(std::move(policies));
  REQUIRE_THAT(compiled.status(), IsOk());
  return (*compiled)->content_id();
}

TEST_CASE("The content id is that of the policies in their order") {
  const auto named = [](const char* id) {
    auto policy = std::make_shared<RuntimePolicy>();
    policy->content_id = id;
    return policy;
  };
  const std::string ab = ContentId({{named("a")}, {named("b")}});
  CHECK(ab.size() == 64);
  CHECK(ab == ContentId({{named("a")}, {named("b")}}));
  CHECK(ab != ContentId({{named("b")}, {named("a")}}));
  CHECK(ab != ContentId({{named("ab")}}));
  CHECK(ab != ContentId({{named("a")}, {named("b")}, {named("b")}}));
  CHECK(ab != ContentId({{named("a"), false}, {named("b")}}));
  CHECK(ContentId({{named("a")}, {named("")}}).empty());
  // Ids are not run together: "a" and "bc" are not "ab" and "c".
  CHECK(ContentId({{named("a")}, {named("bc")}}) !=
        ContentId({{named("ab")}, {named("c")}}));
  // Without a policy there is nothing that could differ.
  CHECK(ContentId({}) == ContentId({}));
  CHECK(ContentId({}) != ContentId({{named("a")}}));
}

}  // namespace
}  // namespace cupel::policy
