// What operators' calls mean, over the real store and without gRPC.
#include "verifier/rpc/fleet_commands.h"

#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "common/crypto/digest.h"
#include "common/util/bytes.h"
#include "tests/support/memory_store.h"
#include "tests/support/status_matchers.h"
#include "verifier/session/accepted_findings.h"

namespace cupel::verifier {
namespace {

using ::cupel::appraisal::MakeFinding;
using ::cupel::appraisal::Severity;
using ::cupel::testing::IsOk;
using ::cupel::testing::StatusIs;
using enum absl::StatusCode;

const std::string& IdText() {
  static const auto& id =
      *new std::string("d432fbb3-d2f1-4a97-9ef7-75bd81c00000");
  return id;
}
std::string EkOf(absl::string_view id) {
  return crypto::Hash(crypto::HashAlgorithm::kSha256, AsBytes(id)).Hex();
}

struct Rig {
  OperatorIdentity admin{.tenant = "acme",
                         .role = OperatorRole::kAdmin,
                         .common_name = "ann",
                         .spki_sha256 = std::string(64, 'a'),
                         .not_before = absl::InfinitePast(),
                         .not_after = absl::InfiniteFuture()};
  testing::MemoryStore store;
  FleetCommands commands{store, absl::Seconds(10), absl::Seconds(10),
                         [](const AgentId&) { return false; },
                         /*max_attest_now=*/2};
  tpm::BootCounts counts = {7, 2};
  int nonces = 0;

  AgentId id(const std::string& text = IdText()) {
    return *AgentId::Parse(text);
  }
  absl::Status Enroll(const std::string& text, absl::string_view token = "") {
    store.now += absl::Seconds(1);
    const Enrollment enrollment = {.ek_certificate = {1},
                                   .ek_sha256 = EkOf(text),
                                   .ek_name = ToVector(AsBytes(text)),
                                   .ak_public = {3},
                                   .ak_name = {4},
                                   .time = store.now,
                                   .address = "192.0.2.1"};
    const std::string nonce = absl::StrCat("nonce ", ++nonces);
    return store
        .Enroll(id(text), enrollment, AsBytes(nonce), store.now, token, 100)
        .status();
  }
  // Enrolled, added and PENDING.
  void Add(const std::string& text = IdText(),
           const std::string& boot = "any") {
    REQUIRE_THAT(Enroll(text), IsOk());
    v1::AddAgentRequest request;
    request.set_agent_id(text);
    request.set_trust_on_first_use(true);
    request.mutable_settings()->set_boot(boot);
    REQUIRE_THAT(commands.Add(admin, request).status(), IsOk());
  }
  AgentRecord Get() { return *store.GetAgent("acme", id()); }
  // As a session records what it has judged.
  void Record(std::optional<AgentState> state,
              std::vector<appraisal::Finding> findings,
              const std::string& boot_composite = std::string(64, 'b'),
              const std::string& text = IdText()) {
    const AgentRecord agent = *store.GetAgent("acme", id(text));
    VerdictWrite write{
        .id = agent.id,
        .owner_epoch = agent.owner_epoch,
        .policy_epoch = agent.policy_epoch,
        .state = state,
        .reason = "a reason",
        .boot_composite = boot_composite,
        .decided = state.has_value(),
        .clock_info = tpm::ClockInfo{.clock = 5,
                                     .reset_count = counts.reset_count,
                                     .restart_count = counts.restart_count}};
    if (!findings.empty()) write.findings = std::move(findings);
    REQUIRE_THAT(store.RecordVerdict(write).status(), IsOk());
  }
  absl::StatusOr<v1::ReactivateReply> Reactivate(
      std::vector<std::string> accept, const std::string& reason = "known",
      const std::string& boot_composite = "") {
    v1::ReactivateRequest request;
    request.set_agent_id(IdText());
    for (const std::string& finding : accept) request.add_accept(finding);
    request.set_reason(reason);
    request.set_boot_composite(boot_composite);
    return commands.Reactivate(admin, request);
  }
};

appraisal::Finding FileFinding(const std::string& path) {
  appraisal::Finding finding =
      MakeFinding("ima.not_in_policy", Severity::kFailure, "a file");
  finding.path = path;
  finding.found = "sha256:00";
  finding.boot = tpm::BootCounts{7, 2};
  return finding;
}

TEST_CASE("A40: a tenant has agents attested at once so often") {
  Rig rig;
  OperatorIdentity other = rig.admin;
  other.tenant = "other";
  v1::AttestNowRequest request;
  request.set_agent_id(IdText());
  const auto refused_after = [&](const OperatorIdentity& who) {
    int count = 0;
    while (!absl::IsResourceExhausted(
        rig.commands.AttestNow(who, request).status())) {
      REQUIRE(++count < 100'000);
    }
    return count;
  };
  CHECK(refused_after(rig.admin) >= 2);
  CHECK_THAT(rig.commands.AttestNow(other, request).status(),
             StatusIs(kNotFound));
  CHECK(refused_after(other) >= 1);
}

TEST_CASE("Settings that mean nothing are refused") {
  Rig rig;
  rig.Add();
  v1::UpdateAgentRequest update;
  update.mutable_selector()->set_agent_id(IdText());
  update.add_changed("tolerated_violations");
  const auto tolerate = [&](const std::vector<std::string>& patterns) {
    update.mutable_settings()->mutable_tolerated_violations()->Assign(
        patterns.begin(), patterns.end());
    return rig.commands.Update(rig.admin, update).status();
  };
  REQUIRE_THAT(tolerate({"/var/log/.*", "/x\xff"}), IsOk());
  CHECK(rig.Get().settings.tolerated_violations ==
        std::vector<std::string>{"/var/log/.*", "/x\xff"});
  CHECK_THAT(tolerate({"/fine", "log"}),
             StatusIs(kInvalidArgument, "tolerated_violations[1]"));
  CHECK_THAT(tolerate(std::vector<std::string>(1000, "/a")),
             StatusIs(kResourceExhausted));
  CHECK(rig.Get().settings.tolerated_violations.size() == 2);

  update.clear_changed();
  update.add_changed("ima_policies");
  update.mutable_settings()->clear_tolerated_violations();
  const auto load = [&](const std::vector<std::string>& paths) {
    update.mutable_settings()->mutable_ima_policies()->Assign(paths.begin(),
                                                              paths.end());
    return rig.commands.Update(rig.admin, update).status();
  };
  const std::vector<std::string> paths = {"/etc/ima/ima-policy", "/\xff"};
  REQUIRE_THAT(load(paths), IsOk());
  for (const std::string& wrong :
       {std::string("ima-policy"), std::string(), std::string("/a\0b", 4),
        "/" + std::string(4095, 'a')}) {
    CHECK_THAT(load({"/fine", wrong}),
               StatusIs(kInvalidArgument, "ima_policies"));
  }
  CHECK_THAT(load(std::vector<std::string>(17, "/a")),
             StatusIs(kInvalidArgument, "at most 16"));
  CHECK(rig.Get().settings.ima_policies == paths);
  REQUIRE_THAT(load({}), IsOk());
  CHECK(rig.Get().settings.ima_policies.empty());

  update.clear_changed();
  update.add_changed("without_excludes");
  update.mutable_settings()->add_without_excludes("base");
  CHECK_THAT(rig.commands.Update(rig.admin, update).status(),
             StatusIs(kInvalidArgument, "none of the agent's policies"));
}

TEST_CASE("A finding is accepted in the boot that it was found in") {
  Rig rig;
  rig.Add();
  // Its first appraisal: no quote of it has ever passed.
  rig.Record(AgentState::kFailed, {FileFinding("/a"), FileFinding("/b")});
  const auto reply = rig.Reactivate({AcceptanceOf(FileFinding("/a"))});
  REQUIRE_THAT(reply.status(), IsOk());
  const AgentRecord agent = rig.Get();
  REQUIRE(agent.accepted.size() == 1);
  CHECK(agent.accepted[0].path == "/a");
  CHECK(agent.accepted[0].reset_count == 7);
  CHECK(agent.accepted[0].restart_count == 2);
  // Who and why are shown.
  REQUIRE(reply->agent().accepted_size() == 1);
  CHECK(reply->agent().accepted(0).who() ==
        "admin ann (spki aaaaaaaaaaaaaaaa)");
  CHECK(reply->agent().accepted(0).why() == "known");
  CHECK(reply->agent().accepted(0).reset_count() == 7);
  CHECK(reply->agent().state_reason() ==
        "reactivated by admin ann (spki aaaaaaaaaaaaaaaa): known");
}

TEST_CASE("What can't be accepted is refused, and nothing changes") {
  Rig rig;
  rig.Add();
  rig.Record(AgentState::kFailed, {FileFinding("/a")});
  for (const std::string& none :
       {AcceptanceOf(FileFinding("/z")), std::string("ima.not_in_policy"),
        std::string("ima.not_in_policy@"), std::string("ima.not_in_policy:/a"),
        absl::AsciiStrToUpper(AcceptanceOf(FileFinding("/a")))}) {
    CAPTURE(none);
    CHECK_FALSE(rig.Reactivate({none}).ok());
  }
  CHECK_THAT(rig.Reactivate({AcceptanceOf(FileFinding("/z"))}).status(),
             StatusIs(kNotFound, "explain"));
  CHECK_THAT(rig.Reactivate({"ima.history_lost"}).status(),
             StatusIs(kFailedPrecondition, "accepted"));
  CHECK_THAT(rig.Reactivate({AcceptanceOf(FileFinding("/a"))}, "").status(),
             StatusIs(kInvalidArgument, "reason"));
  CHECK(rig.Get().state == AgentState::kFailed);
  CHECK(rig.Get().accepted.empty());
}

TEST_CASE("What was found since the operator looked is not accepted") {
  Rig rig;
  rig.Add();
  const appraisal::Finding harmless = FileFinding("/opt/x");
  rig.Record(AgentState::kFailed, {harmless});
  const std::string shown = AcceptanceOf(harmless);
  SECTION("the same file with other content") {
    appraisal::Finding evil = harmless;
    evil.found = "sha256:01";
    rig.Record(std::nullopt, {evil, harmless});
    REQUIRE_THAT(rig.Reactivate({shown}).status(), IsOk());
    REQUIRE(rig.Get().accepted.size() == 1);
    CHECK(rig.Get().accepted[0].found == "sha256:00");
  }
  SECTION("by who did not know of the first one, which stays [A31]") {
    appraisal::Finding evil = harmless;
    evil.found = "sha256:01";
    rig.Record(std::nullopt, {evil});
    REQUIRE_THAT(rig.Reactivate({shown}).status(), IsOk());
    REQUIRE(rig.Get().accepted.size() == 1);
    CHECK(rig.Get().accepted[0].found == "sha256:00");
  }
  SECTION("the same in another boot") {
    appraisal::Finding later = harmless;
    ++later.boot->reset_count;
    rig.Record(std::nullopt, {later});
    CHECK_THAT(rig.Reactivate({shown}).status(), StatusIs(kNotFound));
  }
  SECTION("what is on record from before a boot") {
    ++rig.counts.reset_count;
    rig.Record(std::nullopt, {});
    CHECK_THAT(rig.Reactivate({shown}).status(),
               StatusIs(kFailedPrecondition, "booted since"));
    CHECK(rig.Get().state == AgentState::kFailed);
  }
  SECTION("nor what nobody knows the boot of") {
    appraisal::Finding undated = harmless;
    undated.boot.reset();
    CHECK(AcceptanceOf(undated).empty());
    rig.Record(std::nullopt, {undated});
    CHECK_FALSE(rig.Reactivate({""}).ok());
    CHECK_FALSE(rig.Reactivate({shown}).ok());
  }
}

TEST_CASE("A boot is approved that the operator has looked at") {
  Rig rig;
  rig.Add(IdText(), "pinned");
  const std::string shown(64, 'b');
  rig.Record(std::nullopt, {}, shown);
  CHECK(rig.Get().state == AgentState::kPending);
  SECTION("as it is shown") {
    const auto reply = rig.Reactivate({}, "", shown);
    REQUIRE_THAT(reply.status(), IsOk());
    CHECK(reply->agent().pinned_boot_composite() == shown);
    CHECK(reply->agent().state() == v1::STATE_PENDING);
  }
  SECTION("and no other that the machine shows by then") {
    rig.Record(std::nullopt, {}, std::string(64, 'c'));
    CHECK_THAT(rig.Reactivate({}, "", shown).status(),
               StatusIs(kFailedPrecondition, "look again"));
    CHECK(rig.Get().pinned_boot_composite.empty());
  }
  SECTION("expressly: no reactivation does it by the way") {
    CHECK_THAT(rig.Reactivate({}).status(), StatusIs(kFailedPrecondition));
    rig.Record(AgentState::kFailed, {FileFinding("/a")}, shown);
    REQUIRE_THAT(rig.Reactivate({}).status(), IsOk());
    CHECK(rig.Get().pinned_boot_composite.empty());
  }
  SECTION("accepting a boot for once is not approving it") {
    appraisal::Finding finding =
        MakeFinding("boot.pcr_mismatch", Severity::kFailure, "another boot");
    finding.found = "sha256:" + shown;
    finding.boot = rig.counts;
    rig.Record(AgentState::kFailed, {finding}, shown);
    REQUIRE_THAT(rig.Reactivate({AcceptanceOf(finding)}).status(), IsOk());
    CHECK(rig.Get().pinned_boot_composite.empty());
    CHECK(rig.Get().accepted.size() == 1);
  }
  SECTION("where the setting asks for it") {
    v1::UpdateAgentRequest request;
    request.mutable_selector()->set_all(true);
    request.mutable_settings()->set_boot("any");
    request.add_changed("boot");
    REQUIRE_THAT(rig.commands.Update(rig.admin, request).status(), IsOk());
    CHECK_THAT(rig.Reactivate({}, "", shown).status(),
               StatusIs(kFailedPrecondition, "pinned"));
  }
}

TEST_CASE("A bank that a kernel fills with padded SHA-1 is one of three") {
  Rig rig;
  REQUIRE_THAT(rig.Enroll(IdText()), IsOk());
  v1::AddAgentRequest request;
  request.set_agent_id(IdText());
  request.set_trust_on_first_use(true);
  request.mutable_settings()->set_boot("any");
  for (const char* bank : {"sha1", "sm3", "sha3-256", "md5", "none", ""}) {
    CAPTURE(bank);
    request.mutable_settings()->clear_padded_sha1_banks();
    request.mutable_settings()->add_padded_sha1_banks(bank);
    CHECK_THAT(rig.commands.Add(rig.admin, request).status(),
               StatusIs(kInvalidArgument, "padded_sha1_banks"));
  }
  request.mutable_settings()->clear_padded_sha1_banks();
  for (const char* bank : {"sha256", "sha384", "sha512"}) {
    request.mutable_settings()->add_padded_sha1_banks(bank);
  }
  CHECK_THAT(rig.commands.Add(rig.admin, request).status(), IsOk());
}

TEST_CASE("A list has an agent's first finding, and how many there are") {
  Rig rig;
  rig.Add();
  std::vector<appraisal::Finding> findings;
  findings.reserve(500);
  for (int i = 0; i < 500; ++i) {
    findings.push_back(FileFinding(absl::StrCat("/", i)));
  }
  rig.Record(AgentState::kFailed, findings);
  const auto list = rig.commands.List(rig.admin, {});
  REQUIRE_THAT(list.status(), IsOk());
  REQUIRE(list->agents_size() == 1);
  CHECK(list->agents(0).findings_size() == 1);
  CHECK(list->agents(0).findings(0).path() == "/0");
  CHECK(list->agents(0).finding_count() == 500);
  v1::GetAgentRequest get;
  get.set_agent_id(IdText());
  CHECK(rig.commands.Get(rig.admin, get)->findings_size() == 500);
}

TEST_CASE("A page of the list is bounded in bytes, and none is left out") {
  Rig rig;
  constexpr int kCount = 600;
  for (int i = 0; i < kCount; ++i) {
    const std::string text = absl::StrCat("d432fbb3-d2f1-4a97-9ef7-75bd81c0",
                                          absl::Hex(i, absl::kZeroPad4));
    REQUIRE_THAT(rig.Enroll(text), IsOk());
    v1::AddAgentRequest request;
    request.set_agent_id(text);
    request.set_trust_on_first_use(true);
    for (int label = 0; label < 40; ++label) {
      (*request.mutable_settings()->mutable_labels())[absl::StrCat(label)] =
          std::string(250, 'x');
    }
    REQUIRE_THAT(rig.commands.Add(rig.admin, request).status(), IsOk());
  }
  v1::ListAgentsRequest request;
  int seen = 0;
  int pages = 0;
  do {
    const auto page = rig.commands.List(rig.admin, request);
    REQUIRE_THAT(page.status(), IsOk());
    CHECK(page->ByteSizeLong() < (5u << 20));
    seen += page->agents_size();
    ++pages;
    request.set_page_token(page->next_page_token());
  } while (!request.page_token().empty() && pages < 100);
  CHECK(seen == kCount);
  CHECK(pages == 2);
}

TEST_CASE("An update leaves alone what another one changes meanwhile") {
  Rig rig;
  rig.Add();
  rig.Add("d432fbb3-d2f1-4a97-9ef7-75bd81c00001");
  v1::UpdateAgentRequest request;
  request.mutable_selector()->set_all(true);
  request.mutable_settings()->set_bank("sha384");
  request.add_changed("bank");
  const auto reply = rig.commands.Update(rig.admin, request);
  REQUIRE_THAT(reply.status(), IsOk());
  CHECK(reply->updated_count() == 2);
  CHECK(rig.Get().settings.bank == "sha384");
  CHECK(rig.Get().settings.boot == "any");
  request.mutable_settings()->set_bank("sm3-256");
  CHECK_THAT(rig.commands.Update(rig.admin, request).status(),
             StatusIs(kInvalidArgument, "bank"));
}

TEST_CASE("A token, or the list of allowed EKs, suffices for add") {
  Rig rig;
  v1::AddAgentRequest request;
  request.set_agent_id(IdText());
  request.set_vouched(true);
  request.mutable_settings()->set_boot("any");
  SECTION("a token of the tenant's") {
    const auto token = rig.commands.CreateToken(rig.admin, {});
    REQUIRE_THAT(token.status(), IsOk());
    REQUIRE_THAT(rig.Enroll(IdText(), token->token()), IsOk());
    const auto enrolled = rig.commands.ListEnrolled(rig.admin);
    REQUIRE_THAT(enrolled.status(), IsOk());
    CHECK(enrolled->agents_size() == 1);
    const auto added = rig.commands.Add(rig.admin, request);
    REQUIRE_THAT(added.status(), IsOk());
    CHECK(added->agent().state() == v1::STATE_PENDING);
    CHECK(rig.commands.ListEnrolled(rig.admin)->agents_size() == 0);
  }
  SECTION("the list") {
    v1::AllowEksRequest allow;
    allow.add_ek_sha256(EkOf(IdText()));
    REQUIRE_THAT(rig.commands.AllowEks(rig.admin, allow).status(), IsOk());
    const auto list = rig.commands.ListAllowedEks(rig.admin, {});
    REQUIRE_THAT(list.status(), IsOk());
    REQUIRE(list->eks_size() == 1);
    CHECK(list->eks(0).ek_sha256() == EkOf(IdText()));
    REQUIRE_THAT(rig.Enroll(IdText()), IsOk());
    CHECK_THAT(rig.commands.Add(rig.admin, request).status(), IsOk());
    allow.set_remove(true);
    REQUIRE_THAT(rig.commands.AllowEks(rig.admin, allow).status(), IsOk());
    CHECK(rig.commands.ListAllowedEks(rig.admin, {})->eks_size() == 0);
  }
  SECTION("nothing") {
    REQUIRE_THAT(rig.Enroll(IdText()), IsOk());
    CHECK_THAT(rig.commands.Add(rig.admin, request).status(),
               StatusIs(kFailedPrecondition, "vouches"));
  }
  SECTION("one way, and one only") {
    request.set_trust_on_first_use(true);
    CHECK_THAT(rig.commands.Add(rig.admin, request).status(),
               StatusIs(kInvalidArgument, "one of"));
    v1::AllowEksRequest allow;
    CHECK_THAT(rig.commands.AllowEks(rig.admin, allow).status(),
               StatusIs(kInvalidArgument, "ek_sha256"));
    allow.add_ek_sha256("abc");
    CHECK_THAT(rig.commands.AllowEks(rig.admin, allow).status(),
               StatusIs(kInvalidArgument, "64 digits"));
  }
}

}  // namespace
}  // namespace cupel::verifier
