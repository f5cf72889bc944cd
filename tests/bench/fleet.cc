// A verifier with a fleet of simulated agents: what an attestation and a
// connected agent cost it, and how it comes back after kill -9.
#include <sys/resource.h>
#include <time.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/tpm/attestation_key.h"
#include "common/tpm/signature.h"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "common/util/status_macros.h"
#include "tests/bench/bare_stream.h"
#include "tests/bench/percentile.h"
#include "tests/bench/process_usage.h"
#include "tests/bench/remove_on_signal.h"
#include "tests/bench/simulated_fleet.h"
#include "tests/bench/verifier_process.h"
#include "tests/support/fake_tpm.h"
#include "tests/support/temporary_folder.h"

ABSL_FLAG(uint32_t, agents, 1000, "Simulated agents, a stream each");
ABSL_FLAG(double, seconds, 20, "Length of the steady state");
ABSL_FLAG(uint32_t, digests, 100'000, "Digests in the policy that all share");
ABSL_FLAG(std::string, verifier, "",
          "The cupel-verifier; empty: that of the same build");
ABSL_FLAG(absl::Duration, period, absl::Seconds(1),
          "How often each agent measures something new");
ABSL_FLAG(uint32_t, entries, 3, "How many files it measures then");
ABSL_FLAG(std::string, bare_server, "", "For the program itself");

namespace cupel::bench {
namespace {

constexpr char kPolicy[] = "base";
// What each phase may take at most, however slow the machine is.
constexpr absl::Duration kPhaseTimeout = absl::Minutes(3);
constexpr absl::Duration kSettle = absl::Milliseconds(500);
// Keylime's verifier, by its own figures: a 100k-digest policy, and 1,000.
constexpr double kKeylimeRate = 2.5;
constexpr double kKeylimeSmallRate = 63;
constexpr double kAimMicroseconds = 150;
constexpr double kAimKilobytes = 130;

double Microseconds(absl::Duration duration) {
  return absl::ToDoubleMicroseconds(duration);
}

// A connection each, and what a process has besides.
absl::Status CheckDescriptors(size_t agent_count) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  if (agent_count + 200 <= limit.rlim_cur) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat(agent_count, " agents need more than the ", limit.rlim_cur,
                   " open files that a process may have here"));
}

absl::Duration ThreadCpu() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return absl::DurationFromTimespec(time);
}

// CPU of one ECDSA P-256 signature's verification, in this process.
absl::Duration MeasureVerify() {
  constexpr int kCount = 2000;
  const testing::FakeTpm tpm;
  const std::vector<uint8_t> message(145, 'm');
  const auto signature = tpm::ParseSignature(tpm.Sign(message));
  const auto key = tpm::AttestationKey::FromPublicArea(tpm.ak());
  absl::Duration best = absl::InfiniteDuration();
  for (int repetition = 0; repetition < 3; ++repetition) {
    const absl::Duration begin = ThreadCpu();
    for (int i = 0; i < kCount; ++i) {
      if (!key->CheckSignature(*signature, message).ok()) std::abort();
    }
    best = std::min(best, (ThreadCpu() - begin) / kCount);
  }
  return best;
}

class Bench {
 public:
  explicit Bench(const testing::TemporaryFolder& folder)
      : folder_(folder),
        agent_count_(absl::GetFlag(FLAGS_agents)),
        fleet_({.agent_count = agent_count_,
                .digest_count = absl::GetFlag(FLAGS_digests)}) {}

  absl::Status Run() {
    CUPEL_RETURN_IF_ERROR(CheckDescriptors(agent_count_));
    CUPEL_RETURN_IF_ERROR(StartVerifier());
    const absl::Status status = RunPhases();
    if (!status.ok()) {
      std::fprintf(stderr, "%s\n", verifier_->LogEnd().c_str());
    }
    return status;
  }

 private:
  absl::Status RunPhases() {
    CUPEL_RETURN_IF_ERROR(Provision());
    CUPEL_RETURN_IF_ERROR(Connect());
    CUPEL_RETURN_IF_ERROR(SteadyState());
    CUPEL_RETURN_IF_ERROR(KillAndReturn());
    return CheckStates();
  }

  absl::Status StartVerifier() {
    std::string program = absl::GetFlag(FLAGS_verifier);
    if (program.empty()) {
      program = ProgramBesideThis("verifier/cupel-verifier");
    }
    CUPEL_RETURN_IF_ERROR(WriteFile(folder_ / "ek-roots.pem", fleet_.EkRoot()));
    // All of them come from one address.
    CUPEL_ASSIGN_OR_RETURN(
        verifier_,
        VerifierProcess::Start(
            program, folder_.path(),
            {absl::StrCat("ek_roots: ", folder_ / "ek-roots.pem"),
             absl::StrCat("max_streams: ", agent_count_ + 100),
             absl::StrCat("max_unproven_streams: ", agent_count_ + 100),
             absl::StrCat("max_unproven_per_address: ", agent_count_ + 100)}));
    CUPEL_ASSIGN_OR_RETURN(const auto roots,
                           ReadFile(verifier_->ca_file(), size_t{1} << 20));
    fleet_.MakeAgents(verifier_->attest_address(), std::string(AsText(roots)));
    return absl::OkStatus();
  }

  absl::Status Provision() {
    CUPEL_ASSIGN_OR_RETURN(const auto connection, verifier_->ConnectOperator());
    CUPEL_RETURN_IF_ERROR(
        connection->PutPolicy(kPolicy, /*create=*/true, fleet_.Allowlist())
            .status());
    for (const auto& agent : fleet_.agents()) {
      tenant::NewAgent added{.id = agent->id(),
                             .settings = {},
                             .ek_sha256 = agent->ek_fingerprint().Hex()};
      added.settings.policies = {kPolicy};
      added.settings.boot = "any";
      CUPEL_RETURN_IF_ERROR(connection->Add(added).status());
    }
    CUPEL_ASSIGN_OR_RETURN(const ProcessUsage before, verifier_->Usage());
    const absl::Time begin = absl::Now();
    CUPEL_RETURN_IF_ERROR(fleet_.EnrollAll());
    const absl::Duration took = absl::Now() - begin;
    CUPEL_ASSIGN_OR_RETURN(const ProcessUsage after, verifier_->Usage());
    std::printf(
        "enrolment            %.0f a second; verifier CPU %.0f us each, its "
        "TLS "
        "handshake included\n",
        static_cast<double>(agent_count_) / absl::ToDoubleSeconds(took),
        Microseconds(after.cpu - before.cpu) /
            static_cast<double>(agent_count_));
    return absl::OkStatus();
  }

  absl::Status Connect() {
    // The first one has the policy compiled, which counts for nobody.
    fleet_.Start(0, 1);
    CUPEL_RETURN_IF_ERROR(fleet_.AwaitTrusted(1, kPhaseTimeout));
    if (agent_count_ == 1) return absl::OkStatus();
    absl::SleepFor(kSettle);
    CUPEL_ASSIGN_OR_RETURN(const ProcessUsage before, verifier_->Usage());
    const absl::Time begin = absl::Now();
    fleet_.Start(1, agent_count_);
    CUPEL_RETURN_IF_ERROR(fleet_.AwaitTrusted(agent_count_, kPhaseTimeout));
    const absl::Duration took = absl::Now() - begin;
    absl::SleepFor(kSettle);
    CUPEL_ASSIGN_OR_RETURN(const ProcessUsage after, verifier_->Usage());
    const auto others = static_cast<double>(agent_count_ - 1);
    std::printf(
        "connecting           %.2f s for all; verifier CPU %.0f us each, with "
        "handshake, first quote and whole list\n",
        absl::ToDoubleSeconds(took),
        Microseconds(after.cpu - before.cpu) / others);
    PrintMemory("memory, connected", before, after);
    idle_usage_ = before;
    return absl::OkStatus();
  }

  void PrintMemory(const char* what, const ProcessUsage& before,
                   const ProcessUsage& after) {
    const auto others = static_cast<double>(agent_count_ - 1);
    std::printf(
        "%-20s %.1f KB an agent (aim: at most %.0f), %.1f of it anonymous; "
        "%.1f "
        "MB in all\n",
        what,
        static_cast<double>(after.resident_size - before.resident_size) /
            others / 1000,
        kAimKilobytes,
        static_cast<double>(after.anonymous_size - before.anonymous_size) /
            others / 1000,
        static_cast<double>(after.resident_size) / 1e6);
  }

  absl::Status SteadyState() {
    const absl::Duration seconds = absl::Seconds(absl::GetFlag(FLAGS_seconds));
    const absl::Duration period =
        std::max(absl::GetFlag(FLAGS_period), absl::Milliseconds(1));
    const double rate =
        static_cast<double>(agent_count_) / absl::ToDoubleSeconds(period);
    CUPEL_ASSIGN_OR_RETURN(
        const BareCost bare,
        MeasureBareStreams(folder_.path(), std::min<size_t>(agent_count_, 100),
                           rate, std::min(seconds, absl::Seconds(5))));
    const absl::Duration verify = MeasureVerify();

    CUPEL_ASSIGN_OR_RETURN(const ProcessUsage before, verifier_->Usage());
    CUPEL_ASSIGN_OR_RETURN(const ProcessUsage own_before, UsageOf(getpid()));
    fleet_.BeginRound();
    fleet_.Run(seconds, period, absl::GetFlag(FLAGS_entries));
    Round round = fleet_.EndRound();
    CUPEL_ASSIGN_OR_RETURN(const ProcessUsage after, verifier_->Usage());
    CUPEL_ASSIGN_OR_RETURN(const ProcessUsage own_after, UsageOf(getpid()));
    if (round.verdict_count == 0) {
      return absl::InternalError("no attestation in the steady state");
    }
    if (round.failed_count > 0) {
      return absl::InternalError(
          absl::StrCat(round.failed_count, " agents were called FAILED, for ",
                       round.a_finding));
    }
    const auto count = static_cast<double>(round.verdict_count);
    const double each = Microseconds(after.cpu - before.cpu) / count;
    const double floor = Microseconds(bare.server_cpu + verify);
    std::printf("attestations         %.0f, %.0f a second, %u entries each\n",
                count, count / absl::ToDoubleSeconds(seconds),
                absl::GetFlag(FLAGS_entries));
    std::printf(
        "verifier CPU         %.1f us an attestation, store included (aim: at "
        "most %.0f)\n",
        each, kAimMicroseconds);
    std::printf(
        "  beside it          %.1f us for one ECDSA P-256 verification, %.1f "
        "us "
        "for the messages alone (gRPC, TLS): %.2f times their sum\n",
        Microseconds(verify), Microseconds(bare.server_cpu), each / floor);
    std::printf(
        "attestations         %.0f a CPU-second; Keylime %.1f (%.0f with 1,000 "
        "digests): %.0f times as many\n",
        1e6 / each, kKeylimeRate, kKeylimeSmallRate, 1e6 / each / kKeylimeRate);
    std::printf(
        "latency              p50 %.1f ms, p99 %.1f ms, from quote to "
        "verdict\n",
        absl::ToDoubleMilliseconds(Percentile(round.latencies, 0.5)),
        absl::ToDoubleMilliseconds(Percentile(round.latencies, 0.99)));
    std::printf(
        "client CPU           %.1f us an attestation (signing included)\n",
        Microseconds(own_after.cpu - own_before.cpu) / count);
    if (idle_usage_.has_value()) {
      PrintMemory("memory, steady", *idle_usage_, after);
      std::printf(
          "  beside it          %.1f KB for the stream alone (gRPC, TLS)\n",
          bare.server_memory / 1000);
    }
    return absl::OkStatus();
  }

  absl::Status KillAndReturn() {
    fleet_.BeginRound();
    const absl::Time killed = absl::Now();
    verifier_->Kill();
    CUPEL_RETURN_IF_ERROR(verifier_->Restart());
    const absl::Time up = absl::Now();
    CUPEL_RETURN_IF_ERROR(fleet_.AwaitTrusted(agent_count_, kPhaseTimeout));
    const absl::Time back = absl::Now();
    const Round round = fleet_.EndRound();
    failed_count_ = round.failed_count;
    std::printf(
        "kill -9              all %zu attested again after %.2f s, %.2f s "
        "after "
        "it was up again\n",
        agent_count_, absl::ToDoubleSeconds(back - killed),
        absl::ToDoubleSeconds(back - up));
    return absl::OkStatus();
  }

  // FAILED stays until an operator acts, so the last states tell all.
  absl::Status CheckStates() {
    CUPEL_ASSIGN_OR_RETURN(const auto connection, verifier_->ConnectOperator());
    size_t trusted = 0;
    size_t failed = failed_count_;
    CUPEL_RETURN_IF_ERROR(
        connection->List({.id = {}, .labels = {}, .all = true},
                         [&](const tenant::ReportedAgent& agent) {
                           if (agent.IsTrusted()) ++trusted;
                           if (agent.state == tenant::AgentState::kFailed)
                             ++failed;
                         }));
    std::printf("states               %zu TRUSTED, %zu called FAILED\n",
                trusted, failed);
    if (failed > 0) return absl::InternalError("agents were called FAILED");
    if (trusted != agent_count_) {
      return absl::InternalError("agents are not TRUSTED");
    }
    return absl::OkStatus();
  }

  const testing::TemporaryFolder& folder_;
  const size_t agent_count_;
  std::unique_ptr<VerifierProcess> verifier_;
  SimulatedFleet fleet_;
  std::optional<ProcessUsage> idle_usage_;
  size_t failed_count_ = 0;
};

int Main() {
  setvbuf(stdout, nullptr, _IOLBF, 0);
  if (const std::string folder = absl::GetFlag(FLAGS_bare_server);
      !folder.empty()) {
    const absl::Status served = ServeBareStreams(
        folder + "/pki/server/certificate.pem", folder + "/pki/server/key.pem",
        folder + "/bare.listening");
    std::fprintf(stderr, "fleet: %s\n", served.ToString().c_str());
    return 1;
  }
  if (absl::GetFlag(FLAGS_agents) == 0 || absl::GetFlag(FLAGS_digests) == 0 ||
      absl::GetFlag(FLAGS_seconds) <= 0 || absl::GetFlag(FLAGS_entries) == 0) {
    std::fprintf(stderr, "fleet: each number is at least one\n");
    return 2;
  }
  const testing::TemporaryFolder folder;
  RemoveOnSignal(folder.path());
  const absl::Status status = Bench(folder).Run();
  if (status.ok()) return 0;
  std::fprintf(stderr, "fleet: %s\n", status.ToString().c_str());
  return 1;
}

}  // namespace
}  // namespace cupel::bench

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage(
      "What attestations and connected agents cost a verifier.");
  absl::ParseCommandLine(argc, argv);
  return cupel::bench::Main();
}
