// A running verifier with one agent that it trusts, for tests that then attack
// it.
#ifndef CUPEL_TESTS_ATTACKS_LIVE_SCENE_H_
#define CUPEL_TESTS_ATTACKS_LIVE_SCENE_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "catch2/catch.hpp"
#include "tests/support/held_machine.h"
#include "tests/support/hostile_agent.h"
#include "tests/support/live_verifier.h"

namespace cupel::testing {

using ::Catch::Matchers::StartsWith;

struct LiveSceneOptions {
  // Of the deployment, before the verifier starts.
  std::function<void(const Deployment&)> prepare = {};
  LiveVerifier::Configure configure = {};
  WatchedStore::Before before_store_call = {};
  std::vector<crypto::HashAlgorithm> banks = {crypto::HashAlgorithm::kSha256};
  // Of the victim, beside its policy; any boot unless it says otherwise.
  std::function<void(v1::AgentSettings&)> settings = {};
};

class LiveScene {
 public:
  // Enrols `victim` over the verifier's services, adds it with a policy of its
  // own, and sees it TRUSTED on `stream`.
  explicit LiveScene(LiveSceneOptions options = {});

  // From now on nothing of the victim's record may change. Called at the end of
  // the constructor.
  void Remember();
  // Nothing has: no state, time, count or epoch.
  void CheckUnchanged();
  // And its stream is alive, and TRUSTED again when it shows more.
  void CheckVictimLives();

  // Enrols a machine. Adds it, with the policy "policy-ID" of what it has
  // measured so far, as an operator in `from`.
  void Enroll(HeldMachine& machine, LiveVerifier* at = nullptr);
  void Add(HeldMachine& machine, const std::string& from = "pki/operator",
           const std::function<void(v1::AgentSettings&)>& settings = {});
  // Has the policy of `machine` allow what it has measured by now.
  void UpdatePolicy(HeldMachine& machine);
  // As an operator: of the victim's settings those that `changed` names.
  void UpdateSettings(const v1::AgentSettings& settings,
                      const std::vector<std::string>& changed);
  // As an operator.
  void Delete(const HeldMachine& machine);
  // Hangs the victim's stream up.
  void HangUp();
  // The victim's machine once more, on a new stream.
  std::unique_ptr<HostileStream> Connect(Tampering tampering = {});

  verifier::AgentRecord Record() { return verifier.Record(victim.id()); }
  verifier::AgentState State() { return Record().state; }
  // As an operator is shown it.
  v1::Agent Shown();
  // The ids of the record's findings.
  std::vector<std::string> Findings();

  Deployment deployment;
  LiveVerifier verifier;
  FakeTpmMachine victim;
  std::unique_ptr<HostileStream> stream;

 private:
  std::string before_;
};

// What a stream is answered by `ask`, "refused: " and why. Whoever has proven
// nothing is told one thing alone, whatever is wrong with the quote; then it is
// what the verifier's log says of it.
std::string Told(const LiveVerifier& verifier,
                 const std::function<std::string()>& ask);

// Waits, a few milliseconds at a time, until `condition` holds; fails the test
// if it does not within 20 seconds.
void Await(const std::function<bool()>& condition);

std::string PolicyNameOf(const HeldMachine& machine);

}  // namespace cupel::testing

#endif  // CUPEL_TESTS_ATTACKS_LIVE_SCENE_H_
