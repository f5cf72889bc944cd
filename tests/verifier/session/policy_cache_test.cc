#include "verifier/session/policy_cache.h"

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "catch2/catch.hpp"
#include "tests/support/dsse_signer.h"
#include "tests/support/status_matchers.h"
#include "tests/verifier/session/session_rig.h"

namespace cupel::verifier {
namespace {

using absl::StatusCode;
using ::cupel::testing::FakeMachine;
using ::cupel::testing::IsOk;
using ::cupel::testing::StatusIs;
using Names = std::vector<std::string>;

struct Cache {
  Cache() {
    const FakeMachine machine;
    file = PolicyFileOf(machine);
    store.Put("acme", "base", file);
    store.Put("acme", "site", file + "\n");
  }
  auto Get(const std::string& tenant, const Names& names,
           const Names& without_excludes = {}) {
    return cache.Get({.tenant = tenant,
                      .names = names,
                      .without_excludes = without_excludes});
  }
  std::string file;
  RigStore store;
  PolicyCache cache{store};
};

TEST_CASE("A combination is compiled once and shared") {
  Cache c;
  const auto first = c.Get("acme", {"base", "site"});
  REQUIRE_THAT(first.status(), IsOk());
  const auto second = c.Get("acme", {"base", "site"});
  REQUIRE_THAT(second.status(), IsOk());
  CHECK(first->get() == second->get());
  CHECK(c.cache.compile_count() == 1);
  CHECK(c.cache.load_count() == 2);
  CHECK(c.store.policy_reads == 2);

  // Another order is another combination, of the same files.
  const auto other = c.Get("acme", {"site", "base"});
  REQUIRE_THAT(other.status(), IsOk());
  CHECK((*other)->content_id() != (*first)->content_id());
  CHECK(c.cache.load_count() == 2);

  // A second name of the same content costs nothing.
  c.store.Put("acme", "again", c.file);
  REQUIRE_THAT(c.Get("acme", {"again"}).status(), IsOk());
  CHECK(c.cache.load_count() == 2);
}

TEST_CASE("Where one policy is missing none of the others is loaded") {
  Cache c;
  CHECK_THAT(c.Get("acme", {"base", "gone"}).status(),
             StatusIs(StatusCode::kFailedPrecondition, "\"gone\" is missing"));
  CHECK(c.store.policy_reads == 0);
  const auto found =
      c.cache.Find({.tenant = "acme", .names = {"base", "gone"}});
  REQUIRE_THAT(found.status(), IsOk());
  CHECK(*found == nullptr);
}

TEST_CASE("A tenant learns nothing of another one's policy of the same bytes") {
  Cache c;
  const std::string deny = absl::StrCat(
      R"({"meta":{"version":1},"digests":{},"deny":{"digests":["sha256:)",
      std::string(64, 'a'), R"("]}})");
  c.store.Put("acme", "project-x", deny);
  c.store.Put("other", "mine", deny);
  REQUIRE_THAT(c.Get("acme", {"project-x"}).status(), IsOk());
  const auto mine = c.Get("other", {"mine"});
  REQUIRE_THAT(mine.status(), IsOk());
  const policy::DenyRule* const rule = (*mine)->FindDeny(
      crypto::HashAlgorithm::kSha256, std::vector<uint8_t>(32, 0xaa));
  REQUIRE(rule != nullptr);
  CHECK(rule->origin.find("mine") != std::string::npos);
  CHECK(rule->origin.find("project-x") == std::string::npos);
}

TEST_CASE("What is shared is kept once for all tenants") {
  Cache c;
  c.store.Put("shared", "base", c.file);
  const auto acme = c.Get("acme", {"shared/base"});
  REQUIRE_THAT(acme.status(), IsOk());
  const auto other = c.Get("other", {"shared/base"});
  REQUIRE_THAT(other.status(), IsOk());
  CHECK(acme->get() == other->get());
  const auto own = c.Get("shared", {"base"});
  REQUIRE_THAT(own.status(), IsOk());
  CHECK(acme->get() == own->get());
  CHECK(c.cache.load_count() == 1);
  CHECK(c.cache.compile_count() == 1);

  // A tenant's own policy of the same bytes is not: it has another name.
  const auto mixed = c.Get("acme", {"shared/base", "site"});
  REQUIRE_THAT(mixed.status(), IsOk());
  CHECK(c.cache.load_count() == 2);
  REQUIRE_THAT(c.Get("acme", {"base"}).status(), IsOk());
  CHECK(c.cache.load_count() == 3);
  // Nor does the name reach what another tenant has.
  CHECK_THAT(
      c.Get("other", {"shared/site"}).status(),
      StatusIs(StatusCode::kFailedPrecondition, "\"shared/site\" is missing"));

  c.store.Put("shared", "base", c.file + " ");
  const auto after = c.Get("other", {"shared/base"});
  REQUIRE_THAT(after.status(), IsOk());
  CHECK((*after)->content_id() != (*acme)->content_id());
}

TEST_CASE("The excludes of a policy count by its assignment") {
  Cache c;
  const auto excluding = [](const char* path) {
    return absl::StrCat(R"({"meta":{"version":1},"digests":{},"excludes":[")",
                        path, R"("]})");
  };
  c.store.Put("acme", "tmp", excluding("/tmp/.*"));
  c.store.Put("shared", "var", excluding("/var/.*"));
  const Names names = {"tmp", "shared/var"};
  const auto both = c.Get("acme", names);
  REQUIRE_THAT(both.status(), IsOk());
  CHECK((*both)->IsExcluded("/tmp/x"));
  CHECK((*both)->IsExcluded("/var/x"));
  const auto one = c.Get("acme", names, {"shared/var"});
  REQUIRE_THAT(one.status(), IsOk());
  CHECK((*one)->IsExcluded("/tmp/x"));
  CHECK_FALSE((*one)->IsExcluded("/var/x"));
  const auto none = c.Get("acme", names, names);
  REQUIRE_THAT(none.status(), IsOk());
  CHECK_FALSE((*none)->IsExcluded("/tmp/x"));
  // What is judged by one of them says nothing for another.
  CHECK((*both)->content_id() != (*one)->content_id());
  CHECK((*one)->content_id() != (*none)->content_id());
  // The files are loaded once.
  CHECK(c.cache.load_count() == 2);
  CHECK(c.Get("acme", names, {"shared/var"})->get() == one->get());
}

TEST_CASE("What is found at once needs no file") {
  Cache c;
  const PolicyRequest request = {.tenant = "acme", .names = {"base", "site"}};
  const auto find = [&] {
    auto found = c.cache.Find(request);
    REQUIRE_THAT(found.status(), IsOk());
    return *std::move(found);
  };
  CHECK(find() == nullptr);
  CHECK(c.store.policy_reads == 0);
  auto got = c.cache.Get(request);
  REQUIRE_THAT(got.status(), IsOk());
  CHECK(find() == *got);
  CHECK(c.store.policy_reads == 2);
  // The same policies by another assignment are others.
  CHECK(*c.cache.Find({.tenant = "acme",
                       .names = request.names,
                       .without_excludes = {"site"}}) == nullptr);
  c.store.Put("acme", "site", c.file + "  ");
  CHECK(find() == nullptr);
  REQUIRE_THAT(c.store.DeletePolicy("acme", "site", "ann"), IsOk());
  CHECK(find() == nullptr);
  CHECK(*c.cache.Find({.tenant = "acme", .names = {}}) == nullptr);
  c.store.away = true;
  CHECK_THAT(c.cache.Find(request).status(),
             StatusIs(StatusCode::kUnavailable));
}

TEST_CASE("A name is looked up each time") {
  Cache c;
  const auto before = c.Get("acme", {"base"});
  REQUIRE_THAT(before.status(), IsOk());
  c.store.Put("acme", "base", c.file + " ");
  const auto after = c.Get("acme", {"base"});
  REQUIRE_THAT(after.status(), IsOk());
  CHECK((*before)->content_id() != (*after)->content_id());
}

TEST_CASE("What nobody uses is forgotten") {
  Cache c;
  REQUIRE_THAT(c.Get("acme", {"base"}).status(), IsOk());
  REQUIRE_THAT(c.Get("acme", {"base"}).status(), IsOk());
  CHECK(c.cache.compile_count() == 2);
}

TEST_CASE("What can't be had is an error, never a smaller policy") {
  Cache c;
  CHECK_THAT(c.Get("acme", {}).status(),
             StatusIs(StatusCode::kFailedPrecondition, "no policy"));
  CHECK_THAT(c.Get("acme", {"base", "gone"}).status(),
             StatusIs(StatusCode::kFailedPrecondition, "\"gone\" is missing"));
  // Another tenant's does not exist.
  CHECK_THAT(c.Get("other", {"base"}).status(),
             StatusIs(StatusCode::kFailedPrecondition, "\"base\" is missing"));
  c.store.Put("acme", "broken", "{");
  CHECK_THAT(c.Get("acme", {"base", "broken"}).status(),
             StatusIs(StatusCode::kInvalidArgument, "broken"));
  c.store.damages_policies = true;
  CHECK_THAT(c.Get("acme", {"base"}).status(),
             StatusIs(StatusCode::kDataLoss, "base"));
  c.store.away = true;
  CHECK_THAT(c.Get("acme", {"site"}).status(),
             StatusIs(StatusCode::kUnavailable));
}

TEST_CASE("Threads that ask at once share one compilation") {
  Cache c;
  std::vector<std::shared_ptr<const policy::CompiledPolicy>> got(4);
  std::vector<std::thread> threads;
  threads.reserve(got.size());
  for (auto& one : got) {
    threads.emplace_back([&] { one = *c.Get("acme", {"base"}); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& one : got) CHECK(one == got[0]);
  CHECK(c.cache.compile_count() == 1);
}

TEST_CASE("A signed policy needs a signer that is known") {
  Cache c;
  const testing::Signer signer("P-256");
  const std::string signed_file =
      testing::EnvelopeJson(signer.Envelope(c.file));
  c.store.Put("acme", "signed", signed_file);
  CHECK_THAT(c.Get("acme", {"signed"}).status(),
             StatusIs(StatusCode::kFailedPrecondition, "signed"));

  const testing::Signer other("P-256");
  PolicyCache strange(c.store, {.keys = {other.Public()}});
  CHECK_THAT(strange.Get({.tenant = "acme", .names = {"signed"}}).status(),
             StatusIs(StatusCode::kPermissionDenied, "none of the keys"));

  PolicyCache known(c.store, {.keys = {other.Public(), signer.Public()}});
  CHECK_THAT(
      known.Get({.tenant = "acme", .names = {"signed", "base"}}).status(),
      IsOk());
  std::string forged = signed_file;
  forged[forged.find("\"payload\"") + 20] ^= 1;
  c.store.Put("acme", "signed", forged);
  CHECK_FALSE(known.Get({.tenant = "acme", .names = {"signed"}}).ok());

  c.store.Put("acme", "signed", signed_file);
  PolicyCache strict(c.store, {.keys = {signer.Public()}, .required = true});
  CHECK_THAT(strict.Get({.tenant = "acme", .names = {"signed"}}).status(),
             IsOk());
  CHECK_THAT(strict.Get({.tenant = "acme", .names = {"base"}}).status(),
             StatusIs(StatusCode::kFailedPrecondition, "not signed"));
}

}  // namespace
}  // namespace cupel::verifier
