// How long it takes from an evil script's measurement until its machine is
// FAILED, stored and told to whoever watches: the three programs, a software
// TPM and the emulated kernel.
#include <stdlib.h>

#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <filesystem>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/config/agent_config.h"
#include "common/crypto/digest.h"
#include "common/util/file.h"
#include "common/util/status_macros.h"
#include "tests/bench/percentile.h"
#include "tests/bench/process_usage.h"
#include "tests/bench/remove_on_signal.h"
#include "tests/bench/verifier_process.h"
#include "tests/support/run_command.h"
#include "tests/support/skip.h"
#include "tests/support/swtpm.h"
#include "tests/support/temporary_folder.h"

ABSL_FLAG(uint32_t, runs, 100, "How often an evil script is run");
ABSL_FLAG(absl::Duration, idle, absl::Seconds(20),
          "How long the agent's idle CPU is measured");
ABSL_FLAG(std::string, verifier, "",
          "The cupel-verifier; empty: that of the same build");
ABSL_FLAG(std::string, agent, "",
          "The cupel-agent; empty: that of the same build");

namespace cupel::bench {
namespace {

constexpr char kAgentId[] = "d432fbb3-d2f1-4a97-9ef7-75bd81c00000";
constexpr char kPolicy[] = "base";
constexpr absl::Duration kStepTimeout = absl::Seconds(30);
constexpr absl::Duration kAim = absl::Milliseconds(300);
constexpr size_t kMaxProgramSize = size_t{64} << 20;

std::string ProgramOf(const absl::Flag<std::string>& flag,
                      const std::string& name) {
  std::string program = absl::GetFlag(flag);
  return program.empty() ? ProgramBesideThis(name) : program;
}

struct SeenEvent {
  absl::Time at;  // when it came
  tenant::FleetEvent event;
};

// An operator's `watch`, on a thread of its own. The verifier must end before
// it does.
class Watcher {
 public:
  explicit Watcher(std::unique_ptr<tenant::Fleet> fleet)
      : fleet_(std::move(fleet)), thread_([this] { Watch(); }) {}
  ~Watcher() { thread_.join(); }
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;

  // The next event with that state, what comes before it is dropped.
  absl::StatusOr<SeenEvent> Await(tenant::AgentState state) {
    const auto end = std::chrono::steady_clock::now() +
                     absl::ToChronoMilliseconds(kStepTimeout);
    std::unique_lock<std::mutex> lock(mutex_);
    while (changed_.wait_until(lock, end, [&] { return !events_.empty(); })) {
      SeenEvent event = std::move(events_.front());
      events_.pop_front();
      if (event.event.state == state) return event;
    }
    return absl::DeadlineExceededError(
        absl::StrCat("the machine is not ", AgentStateName(state), " in time"));
  }

 private:
  void Watch() {
    fleet_
        ->Watch({.id = {}, .labels = {}, .all = true}, /*with_present=*/false,
                [this](const tenant::FleetEvent& event) {
                  const std::lock_guard<std::mutex> lock(mutex_);
                  events_.push_back({absl::Now(), event});
                  changed_.notify_all();
                  return true;
                })
        .IgnoreError();
  }

  const std::unique_ptr<tenant::Fleet> fleet_;
  std::mutex mutex_;  // guards events_
  std::condition_variable changed_;
  std::deque<SeenEvent> events_;
  std::thread thread_;  // last: it uses the others
};

class Bench {
 public:
  explicit Bench(const testing::TemporaryFolder& folder) : folder_(folder) {}
  ~Bench() {
    if (verifier_ != nullptr) verifier_->Kill();
  }

  absl::Status Run() {
    CUPEL_RETURN_IF_ERROR(StartVerifier());
    CUPEL_RETURN_IF_ERROR(StartAgent());
    const uint32_t runs = absl::GetFlag(FLAGS_runs);
    std::vector<absl::Duration> latencies;
    for (uint32_t i = 0; i < runs; ++i) {
      CUPEL_ASSIGN_OR_RETURN(const absl::Duration latency, Detect(i));
      latencies.push_back(latency);
    }
    const auto ms = [](absl::Duration duration) {
      return absl::ToDoubleMilliseconds(duration);
    };
    const absl::Duration settle = config::AgentConfig().settle;
    const absl::Duration p99 = Percentile(latencies, 0.99);
    std::printf(
        "detection            median %.1f ms, p99 %.1f ms (aim: under %.0f), "
        "worst %.1f ms, of %u runs\n",
        ms(Percentile(latencies, 0.5)), ms(p99), ms(kAim),
        ms(Percentile(latencies, 1)), runs);
    std::printf(
        "  beside it          %.0f ms that the agent lets the list settle: "
        "median %.2f, p99 %.2f times that\n",
        ms(settle), absl::FDivDuration(Percentile(latencies, 0.5), settle),
        absl::FDivDuration(p99, settle));
    return MeasureAgent();
  }

 private:
  absl::Status StartVerifier() {
    const std::string ca = folder_ / "tpm-ca";
    const std::string roots = folder_ / "ek-roots";
    std::filesystem::create_directory(ca);
    std::filesystem::create_directory(roots);
    CUPEL_ASSIGN_OR_RETURN(tpm_, testing::SwTpm::StartCertified(ca));
    for (const char* const file :
         {"issuer.pem", "swtpm-localca-rootca-cert.pem"}) {
      std::filesystem::copy_file(absl::StrCat(ca, "/", file),
                                 absl::StrCat(roots, "/", file));
    }
    CUPEL_ASSIGN_OR_RETURN(
        verifier_, VerifierProcess::Start(
                       ProgramOf(FLAGS_verifier, "verifier/cupel-verifier"),
                       folder_.path(), {absl::StrCat("ek_roots: ", roots)}));
    CUPEL_ASSIGN_OR_RETURN(operator_, verifier_->ConnectOperator());
    CUPEL_ASSIGN_OR_RETURN(auto watching, verifier_->ConnectOperator());
    watcher_.emplace(std::move(watching));
    return absl::OkStatus();
  }

  absl::Status StartAgent() {
    CUPEL_RETURN_IF_ERROR(WriteFile(
        folder_ / "agent.yaml",
        absl::StrCat(
            "verifiers: [\"", verifier_->attest_address(),
            "\"]\nca_file: ", verifier_->ca_file(), "\nagent_id: ", kAgentId,
            "\nstate_dir: ", folder_ / "agent", "\ntcti: ", tpm_->Tcti(),
            "\nima_list: ", folder_ / "ima_list", "\nima_count: \"\"\n")));
    CUPEL_ASSIGN_OR_RETURN(const std::string good, WriteScript("good"));
    CUPEL_RETURN_IF_ERROR(Measure(good));
    CUPEL_ASSIGN_OR_RETURN(const std::string script_line, LineOf(good));
    CUPEL_ASSIGN_OR_RETURN(
        const std::string shell_line,
        LineOf(std::filesystem::canonical("/bin/sh").string()));
    CUPEL_RETURN_IF_ERROR(
        operator_->PutPolicy(kPolicy, /*create=*/true, script_line + shell_line)
            .status());
    tenant::NewAgent added{.id = AgentId::Parse(kAgentId).value(),
                           .settings = {},
                           .ek_sha256 = {},
                           .trust_on_first_use = true};
    added.settings.policies = {kPolicy};
    added.settings.boot = "any";
    added.settings.lab = true;
    CUPEL_RETURN_IF_ERROR(operator_->Add(added).status());
    CUPEL_ASSIGN_OR_RETURN(
        agent_,
        testing::Server::Start(AgentCommand({"run"}), folder_ / "agent.log"));
    return watcher_->Await(tenant::AgentState::kTrusted).status();
  }

  // From the new entry in the list to FAILED; then the machine is TRUSTED
  // again.
  absl::StatusOr<absl::Duration> Detect(uint32_t run) {
    CUPEL_ASSIGN_OR_RETURN(const std::string evil,
                           WriteScript(absl::StrCat("evil_", run)));
    // Not always at the same moment between two looks at the list.
    absl::SleepFor(absl::Milliseconds(50 + random_() % 50));
    const std::string list = folder_ / "ima_list";
    const uintmax_t size = std::filesystem::file_size(list);
    auto measured =
        std::async(std::launch::async, [&] { return Measure(evil); });
    const absl::Time give_up = absl::Now() + kStepTimeout;
    while (std::filesystem::file_size(list) == size) {
      if (absl::Now() > give_up) {
        CUPEL_RETURN_IF_ERROR(measured.get());
        return absl::DeadlineExceededError("the emulator measured nothing");
      }
      absl::SleepFor(absl::Microseconds(200));
    }
    const absl::Time begin = absl::Now();
    const auto failed = watcher_->Await(tenant::AgentState::kFailed);
    CUPEL_RETURN_IF_ERROR(measured.get());
    CUPEL_RETURN_IF_ERROR(failed.status());
    tenant::Reactivation reactivation{.id = AgentId::Parse(kAgentId).value(),
                                      .accept = {},
                                      .reason = "it was a benchmark's"};
    for (const tenant::ReportedFinding& finding : failed->event.findings) {
      if (finding.severity != "failure") continue;
      if (finding.path != evil) {
        return absl::InternalError(
            absl::StrCat("a finding that was not expected: ", finding.id, " ",
                         finding.path));
      }
      reactivation.accept.push_back(finding.accept_as);
    }
    CUPEL_RETURN_IF_ERROR(operator_->Reactivate(reactivation).status());
    CUPEL_RETURN_IF_ERROR(
        watcher_->Await(tenant::AgentState::kTrusted).status());
    return failed->at - begin;
  }

  absl::Status MeasureAgent() {
    const absl::Duration idle = absl::GetFlag(FLAGS_idle);
    CUPEL_ASSIGN_OR_RETURN(const ProcessUsage before, UsageOf(agent_->pid()));
    absl::SleepFor(idle);
    CUPEL_ASSIGN_OR_RETURN(const ProcessUsage after, UsageOf(agent_->pid()));
    std::printf(
        "agent                %.1f MB of memory of its own (aim: at most "
        "8)\n",
        static_cast<double>(after.anonymous_size) / 1e6);
    if (idle > absl::ZeroDuration()) {
      std::printf(
          "agent, idle          %.2f %% of a CPU over %.0f s (aim: at most "
          "0.2)\n",
          100 * absl::FDivDuration(after.cpu - before.cpu, idle),
          absl::ToDoubleSeconds(idle));
    }
    return absl::OkStatus();
  }

  std::vector<std::string> AgentCommand(std::vector<std::string> rest) const {
    std::vector<std::string> command = {
        ProgramOf(FLAGS_agent, "agent/cupel-agent"), "--config",
        folder_ / "agent.yaml"};
    command.insert(command.end(), rest.begin(), rest.end());
    return command;
  }

  absl::Status Measure(const std::string& script) const {
    CUPEL_ASSIGN_OR_RETURN(
        const testing::CommandResult result,
        testing::RunCommand(AgentCommand({"ima-emulator", "--", script})));
    if (result.exit_code == 0) return absl::OkStatus();
    return absl::InternalError(absl::StrCat("ima-emulator: ", result.err));
  }

  absl::StatusOr<std::string> WriteScript(const std::string& name) const {
    std::string path = folder_ / (name + ".sh");
    CUPEL_RETURN_IF_ERROR(
        WriteFile(path, absl::StrCat("#!/bin/sh\necho ", name, "\n")));
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
    return path;
  }

  // The file's line of an allowlist.
  static absl::StatusOr<std::string> LineOf(const std::string& path) {
    CUPEL_ASSIGN_OR_RETURN(const auto content, ReadFile(path, kMaxProgramSize));
    return absl::StrCat(
        crypto::Hash(crypto::HashAlgorithm::kSha256, content).Hex(), "  ",
        std::filesystem::canonical(path).string(), "\n");
  }

  const testing::TemporaryFolder& folder_;
  std::unique_ptr<testing::SwTpm> tpm_;
  std::unique_ptr<tenant::Fleet> operator_;
  std::optional<Watcher> watcher_;
  std::unique_ptr<VerifierProcess> verifier_;
  std::unique_ptr<testing::Server> agent_;
  std::mt19937 random_;
};

int Main() {
  if (!testing::SwTpm::IsAvailable()) {
    std::printf("skipped: swtpm or tpm2-tools are not installed\n");
    return testing::kSkipped;
  }
  if (absl::GetFlag(FLAGS_runs) == 0) {
    std::fprintf(stderr, "detection_bench: at least one run\n");
    return 2;
  }
  const testing::TemporaryFolder folder;
  RemoveOnSignal(folder.path());
  setenv("TMPDIR", folder.path().c_str(), /*overwrite=*/1);  // the TPM's too
  const absl::Status status = Bench(folder).Run();
  if (status.ok()) return 0;
  std::fprintf(stderr, "detection_bench: %s\n", status.ToString().c_str());
  return 1;
}

}  // namespace
}  // namespace cupel::bench

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage(
      "How long it takes until an evil script is seen.");
  absl::ParseCommandLine(argc, argv);
  return cupel::bench::Main();
}
