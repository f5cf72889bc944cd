// What dead processes and broken connections leave in a TPM without a resource
// manager: the agent removes its own, and nothing else.
#include <signal.h>
#include <sys/wait.h>
#include <tss2/tss2_esys.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "agent/tpm/esys_context.h"
#include "agent/tpm/esys_tpm.h"
#include "agent/tpm/identity.h"
#include "catch2/catch.hpp"
#include "common/tpm/ek_template.h"
#include "common/tpm/make_credential.h"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "tests/agent/tpm/cutting_proxy.h"
#include "tests/agent/tpm/swtpm_rig.h"
#include "tests/support/status_matchers.h"
#include "tests/support/swtpm.h"
#include "tests/support/temporary_folder.h"

namespace cupel::agent {
namespace {

using ::cupel::testing::IsOk;
using ::cupel::testing::StatusIs;
using ::cupel::testing::StatusOf;
using ::cupel::testing::SwTpm;
using ::cupel::testing::TemporaryFolder;
using ::cupel::tpm::EkTemplate;

constexpr EkTemplate kTemplate = EkTemplate::kL2;

IdentityOptions Options(const TemporaryFolder& state) {
  return {.state_folder = state.path(), .ek_template = kTemplate};
}

std::string NoteOf(const TemporaryFolder& state) {
  return state / "tpm_session";
}

std::string Slurp(const std::string& path) {
  return std::string(AsText(Get(ReadFile(path, 1 << 16))));
}

// Somebody else's object; its handle.
std::string MakeForeignObject(SwTpm& swtpm) {
  Get(swtpm.RunWithoutFlush({"tpm2_createprimary", "-C", "o"}));
  const std::vector<std::string> objects = TransientObjects(swtpm);
  REQUIRE(objects.size() == 1);
  return objects.front();
}

// Runs `body`, in a process that is killed `lifetime` after it has begun.
template <typename Body>
void RunAndKill(absl::Duration lifetime, Body body) {
  int begun[2];
  REQUIRE(pipe(begun) == 0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    alarm(60);
    if (write(begun[1], "x", 1) == 1) body();
    _exit(1);
  }
  close(begun[1]);
  char byte = 0;
  const bool has_begun = read(begun[0], &byte, 1) == 1;
  close(begun[0]);
  absl::SleepFor(lifetime);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  REQUIRE(has_begun);
}

TEST_CASE("agents killed at any moment leave room for the next", "[swtpm]") {
  const auto swtpm = StartTpm();
  const TemporaryFolder state;
  const Identity first =
      Get(PrepareIdentity(*Connect(*swtpm, "", NoteOf(state)), Options(state)));
  const std::string foreign = MakeForeignObject(*swtpm);
  bool left_something = false;
  for (int i = 0; i < 25; ++i) {
    // Starts are where EK, AK and session are there at once.
    RunAndKill(absl::Milliseconds(3 + 4 * i), [&] {
      for (int round = 0;; ++round) {
        auto tpm = EsysTpm::Open(
            {.tcti = swtpm->Tcti(), .session_note_file = NoteOf(state)});
        if (!tpm.ok() || !PrepareIdentity(**tpm, Options(state)).ok()) return;
        for (int quote = 0; quote < 3; ++quote) {
          if (!(*tpm)
                   ->MakeQuote(Nonce(), *tpm::PcrSelection::FromString(kUsual))
                   .ok()) {
            return;
          }
        }
      }
    });
    left_something |= CountLoaded(*swtpm) > 1;
  }
  CHECK(left_something);
  const auto tpm = Connect(*swtpm, "", NoteOf(state));
  const Identity last = Get(PrepareIdentity(*tpm, Options(state)));
  CHECK_FALSE(last.ak_is_new);
  CHECK(last.ak == first.ak);
  const auto selection = Selection(kUsual);
  CheckQuote(last, Get(tpm->MakeQuote(Nonce(), selection)), Nonce(), selection);
  CHECK(TransientObjects(*swtpm) == std::vector<std::string>{foreign});
  CHECK(LoadedSessions(*swtpm).empty());
}

TEST_CASE("first starts killed at any moment leave room for the next",
          "[swtpm]") {
  const auto swtpm = StartTpm();
  const std::string foreign = MakeForeignObject(*swtpm);
  const TemporaryFolder state;
  bool left_something = false;
  for (int i = 0; i < 20; ++i) {
    RunAndKill(absl::Milliseconds(2 + 3 * i), [&] {
      const auto tpm = EsysTpm::Open(
          {.tcti = swtpm->Tcti(), .session_note_file = NoteOf(state)});
      // What comes before there is a file of the AK.
      while (tpm.ok() && (*tpm)->CreateAk(kTemplate, AkKind::kEccP256).ok()) {
      }
    });
    left_something |= CountLoaded(*swtpm) > 1;
  }
  CHECK(left_something);
  const auto tpm = Connect(*swtpm, "", NoteOf(state));
  CHECK(Get(PrepareIdentity(*tpm, Options(state))).ak_is_new);
  CHECK(TransientObjects(*swtpm) == std::vector<std::string>{foreign});
  CHECK(LoadedSessions(*swtpm).empty());
}

TEST_CASE("an EK that was left is known before its Name is", "[swtpm]") {
  const auto swtpm = StartTpm();
  const TemporaryFolder state;
  Get(swtpm->RunWithoutFlush({"tpm2_createek", "-G", "ecc", "-c", "ek.ctx"}));
  Get(swtpm->RunWithoutFlush({"tpm2_createek", "-G", "ecc", "-c", "ek.ctx"}));
  REQUIRE(TransientObjects(*swtpm).size() == 2);
  Get(Connect(*swtpm)->CreateAk(kTemplate, AkKind::kEccP256));
  CHECK(CountLoaded(*swtpm) == 0);
}

TEST_CASE("what only looks like an EK is somebody else's", "[swtpm]") {
  const auto swtpm = StartTpm();
  SECTION("of another template") {
    Get(swtpm->RunWithoutFlush({"tpm2_createek", "-G", "rsa", "-c", "ek.ctx"}));
  }
  SECTION("of the endorsement hierarchy, but no EK") {
    Get(swtpm->RunWithoutFlush({"tpm2_createprimary", "-C", "e", "-G", "ecc"}));
  }
  SECTION("of the template, but in the owner's hierarchy") {
    REQUIRE_THAT(
        swtpm->Write("policy", tpm::EkTemplateArea(kTemplate).auth_policy),
        IsOk());
    const std::string attributes =
        "fixedtpm|fixedparent|sensitivedataorigin|adminwithpolicy|restricted|"
        "decrypt";
    Get(swtpm->RunWithoutFlush({"tpm2_createprimary", "-C", "o", "-G",
                                "ecc256:aes128cfb", "-L", "policy", "-a",
                                attributes}));
  }
  const std::vector<std::string> foreign = TransientObjects(*swtpm);
  REQUIRE(foreign.size() == 1);
  Get(Connect(*swtpm)->CreateAk(kTemplate, AkKind::kEccP256));
  CHECK(TransientObjects(*swtpm) == foreign);
}

enum class SessionKind { kFresh, kForEk, kForPcrs, kHmac };

// Starts a session as a process leaves it that is killed: loaded.
void LeaveSession(SwTpm& swtpm, SessionKind kind) {
  const auto context = Get(EsysContext::Open(swtpm.Tcti()));
  const TPMT_SYM_DEF symmetric = {
      .algorithm = TPM2_ALG_NULL, .keyBits = {}, .mode = {}};
  ESYS_TR session = ESYS_TR_NONE;
  REQUIRE(Esys_StartAuthSession(
              context->get(), ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
              ESYS_TR_NONE, ESYS_TR_NONE, nullptr,
              kind == SessionKind::kHmac ? TPM2_SE_HMAC : TPM2_SE_POLICY,
              &symmetric, TPM2_ALG_SHA256, &session) == TSS2_RC_SUCCESS);
  if (kind == SessionKind::kForEk) {
    EsysPtr<TPM2B_TIMEOUT> timeout;
    EsysPtr<TPMT_TK_AUTH> ticket;
    REQUIRE(Esys_PolicySecret(context->get(), ESYS_TR_RH_ENDORSEMENT, session,
                              ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE,
                              nullptr, nullptr, nullptr, 0, Out(timeout),
                              Out(ticket)) == TSS2_RC_SUCCESS);
  } else if (kind == SessionKind::kForPcrs) {
    const TPM2B_DIGEST present = {};
    const TPML_PCR_SELECTION none = {};
    REQUIRE(Esys_PolicyPCR(context->get(), session, ESYS_TR_NONE, ESYS_TR_NONE,
                           ESYS_TR_NONE, &present, &none) == TSS2_RC_SUCCESS);
  }
}

// That, and what it would have noted.
struct LeftSession {
  explicit LeftSession(SwTpm& swtpm, SessionKind kind = SessionKind::kFresh) {
    LeaveSession(swtpm, kind);
    const std::vector<std::string> sessions = LoadedSessions(swtpm);
    REQUIRE(sessions.size() == 1);
    handle = sessions.front();
    const auto state = Get(Connect(swtpm)->ReadState());
    note = NoteFor(state.clock.reset_count, state.clock.restart_count);
    expected = Expected(state.clock.reset_count, state.clock.restart_count);
    expected_beside =
        Expected(state.clock.reset_count, state.clock.restart_count, handle);
  }

  // What stands there while the TPM opens a session.
  std::string Expected(uint32_t reset_count, uint32_t restart_count,
                       const std::string& beside = "") const {
    return absl::StrCat("policy-session new reset ", reset_count, " restart ",
                        restart_count, " beside ", beside, "\n");
  }
  std::string NoteFor(uint32_t reset_count, uint32_t restart_count) const {
    return absl::StrCat("policy-session ", handle, " reset ", reset_count,
                        " restart ", restart_count, "\n");
  }

  std::string handle;
  std::string note;
  std::string expected;
  std::string expected_beside;
};

TEST_CASE("a session that a killed process has noted is flushed", "[swtpm]") {
  const auto swtpm = StartTpm();
  const TemporaryFolder state;
  std::string note;
  SECTION("while the TPM opened it") { note = LeftSession(*swtpm).expected; }
  SECTION("before its policy") { note = LeftSession(*swtpm).note; }
  SECTION("after its policy") {
    note = LeftSession(*swtpm, SessionKind::kForEk).note;
  }
  REQUIRE_THAT(WriteFile(NoteOf(state), note), IsOk());
  Get(Connect(*swtpm, "", NoteOf(state))->AllocatedBanks());
  CHECK(LoadedSessions(*swtpm).empty());
  CHECK(Slurp(NoteOf(state)).empty());
}

TEST_CASE("a session that may be another's is left alone", "[swtpm]") {
  const auto swtpm = StartTpm();
  const TemporaryFolder state;
  std::string note;
  SECTION("nobody noted it") { const LeftSession left(*swtpm); }
  SECTION("another was noted") {
    const LeftSession left(*swtpm);
    note = left.note;
    note.replace(note.find(" reset") - 1, 1, "2");
  }
  SECTION("the TPM was reset since") {
    const LeftSession left(*swtpm);
    const auto clock = Get(Connect(*swtpm)->ReadState()).clock;
    note = left.NoteFor(clock.reset_count - 1, clock.restart_count);
  }
  SECTION("the TPM was restarted since") {
    const LeftSession left(*swtpm);
    const auto clock = Get(Connect(*swtpm)->ReadState()).clock;
    note = left.NoteFor(clock.reset_count, clock.restart_count + 1);
  }
  SECTION("it has another policy") {
    note = LeftSession(*swtpm, SessionKind::kForPcrs).note;
  }
  SECTION("it is no policy session") {
    note = LeftSession(*swtpm, SessionKind::kHmac).note;
  }
  SECTION("it was there before") { note = LeftSession(*swtpm).expected_beside; }
  SECTION("it was used before it was noted") {
    note = LeftSession(*swtpm, SessionKind::kForEk).expected;
  }
  SECTION("no policy session was noted before") {
    note = LeftSession(*swtpm, SessionKind::kHmac).expected;
  }
  SECTION("the TPM was reset since, before it was noted") {
    const LeftSession left(*swtpm);
    const auto clock = Get(Connect(*swtpm)->ReadState()).clock;
    note = left.Expected(clock.reset_count - 1, clock.restart_count);
  }
  SECTION("the note is none") {
    const LeftSession left(*swtpm);
    note = "policy-session";
  }
  const std::vector<std::string> before = LoadedSessions(*swtpm);
  REQUIRE(before.size() == 1);
  REQUIRE_THAT(WriteFile(NoteOf(state), note), IsOk());
  Get(Connect(*swtpm, "", NoteOf(state))->AllocatedBanks());
  CHECK(LoadedSessions(*swtpm) == before);
}

TEST_CASE("where two sessions are new, neither is known to be the agent's",
          "[swtpm]") {
  const auto swtpm = StartTpm();
  const TemporaryFolder state;
  const LeftSession left(*swtpm);
  LeaveSession(*swtpm, SessionKind::kFresh);
  REQUIRE_THAT(WriteFile(NoteOf(state), left.expected), IsOk());
  Get(Connect(*swtpm, "", NoteOf(state))->AllocatedBanks());
  CHECK(LoadedSessions(*swtpm).size() == 2);
}

TEST_CASE("two processes of one agent keep out of one another's way",
          "[swtpm]") {
  const auto swtpm = StartTpm();
  const TemporaryFolder state;
  const auto tpm = Connect(*swtpm, "", NoteOf(state));
  const Identity identity = Get(PrepareIdentity(*tpm, Options(state)));
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    alarm(60);
    // As `identity` beside `run`: each start flushes the agent's objects.
    for (int i = 0; i < 20; ++i) {
      auto other = EsysTpm::Open(
          {.tcti = swtpm->Tcti(), .session_note_file = NoteOf(state)});
      if (!other.ok() || !PrepareIdentity(**other, Options(state)).ok()) {
        _exit(1);
      }
    }
    _exit(0);
  }
  const auto selection = Selection(kUsual);
  int status = 0;
  while (waitpid(child, &status, WNOHANG) == 0) {
    REQUIRE_THAT(StatusOf(tpm->MakeQuote(Nonce(), selection)), IsOk());
  }
  CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0));
  CHECK(CountLoaded(*swtpm) == 0);
}

TEST_CASE("a note that can't be kept is an error with its path", "[swtpm]") {
  const auto swtpm = StartTpm();
  CHECK_THAT(StatusOf(EsysTpm::Open(
                 {.tcti = swtpm->Tcti(), .session_note_file = "/none/note"})),
             StatusIs(absl::StatusCode::kNotFound, "/none/note"));
}

TEST_CASE("an answer that got lost costs no slot of the TPM", "[swtpm]") {
  const auto swtpm = StartTpm();
  const std::string foreign = MakeForeignObject(*swtpm);
  const TemporaryFolder state;
  CuttingProxy proxy(swtpm->Tcti().substr(std::string("swtpm:path=").size()));
  const auto tpm = Get(EsysTpm::Open(
      {.tcti = proxy.Tcti(), .session_note_file = NoteOf(state)}));
  const Identity identity = Get(PrepareIdentity(*tpm, Options(state)));
  const auto selection = Selection(kUsual);
  const auto credential = Get(
      tpm::MakeCredential(identity.ek, identity.ak.Name(), Secret(Nonce())));
  // Each command of a quote and of an activation gets lost once.
  int lost_count = 0;
  for (int at = 0;; ++at) {
    CAPTURE(at);
    proxy.CutAfter(at);
    const absl::Status quoted = StatusOf(tpm->MakeQuote(Nonce(), selection));
    const absl::Status activated =
        StatusOf(tpm->ActivateCredential(credential));
    if (proxy.armed()) break;
    ++lost_count;
    // Whatever was lost is an error that may pass, or has cost nothing.
    for (const absl::Status& status : {quoted, activated}) {
      if (!status.ok()) {
        CHECK_THAT(status, StatusIs(absl::StatusCode::kUnavailable));
      }
    }
    const auto again = tpm->MakeQuote(Nonce(2), selection);
    REQUIRE_THAT(StatusOf(again), IsOk());
    CheckQuote(identity, *again, Nonce(2), selection);
    CHECK(TransientObjects(*swtpm) == std::vector<std::string>{foreign});
    CHECK(LoadedSessions(*swtpm).empty());
  }
  CHECK(lost_count > 10);
}

}  // namespace
}  // namespace cupel::agent
