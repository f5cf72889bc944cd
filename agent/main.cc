// cupel-agent: has this machine's TPM prove what it runs.
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <bit>
#include <cstdio>
#include <exception>
#include <iostream>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "agent/commands/commands.h"
#include "agent/enrollment/enrollee.h"
#include "agent/rpc/enrollment_client.h"
#include "agent/rpc/runner.h"
#include "agent/sources/ima_list_source.h"
#include "agent/tpm/esys_tpm.h"
#include "agent/tpm/tcti.h"
#include "common/config/agent_config.h"
#include "common/config/loader.h"
#include "common/tpm/ek_template.h"
#include "common/util/bytes.h"
#include "common/util/escape.h"
#include "common/util/file.h"
#include "common/util/log.h"
#include "common/util/status_context.h"
#include "common/util/status_macros.h"
#include "common/util/user.h"

namespace cupel::agent {
namespace {

constexpr int kUndecided = 2;  // bad usage, or it could not be done
constexpr size_t kMaxSmallFile = size_t{1} << 20;
constexpr absl::Duration kEnrollmentTimeout = absl::Seconds(30);

struct Flags {
  std::optional<std::string> config_file;
  std::vector<std::string> set;
  std::vector<std::string> command;
  bool json = false;
};

absl::StatusOr<config::AgentConfig> LoadConfig(const Flags& flags) {
  CUPEL_ASSIGN_OR_RETURN(
      const config::Sources sources,
      config::SourcesFromFlags("agent", flags.config_file, flags.set));
  return config::LoadAgentConfig(sources);
}

class TpmQuoter : public Quoter {
 public:
  explicit TpmQuoter(Tpm& tpm) : tpm_(tpm) {}
  absl::StatusOr<QuoteResult> Quote(
      std::span<const uint8_t> qualifying_data,
      const tpm::PcrSelection& selection) override {
    CUPEL_ASSIGN_OR_RETURN(agent::Quote quote,
                           tpm_.MakeQuote(qualifying_data, selection));
    return QuoteResult{.attest = std::move(quote.attest),
                       .signature = std::move(quote.signature),
                       .pcrs = std::move(quote.values)};
  }

 private:
  Tpm& tpm_;
};

// Becomes the configured user for good. What was opened before stays open; what
// may have to be opened again is looked at.
absl::Status DropTo(const std::string& user, const std::string& tcti,
                    Logger& log) {
  if (user.empty()) return absl::OkStatus();
  CUPEL_RETURN_IF_ERROR(WithContext(BecomeUser(user), "user"));
  const std::string tpm = TctiPath(tcti);
  if (!tpm.empty() && access(tpm.c_str(), R_OK | W_OK) != 0) {
    log.Warning(
        "the TPM can't be opened again after an I/O error: put the user "
        "into the group that may use it (tss)",
        {{"user", user}, {"tpm", tpm}});
  }
  return absl::OkStatus();
}

// Ends the runner on SIGTERM or SIGINT, which are blocked everywhere else.
class SignalThread {
 public:
  SignalThread() {
    sigemptyset(&set_);
    sigaddset(&set_, SIGTERM);
    sigaddset(&set_, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set_, nullptr);
  }
  void Watch(Runner& runner) {
    thread_ = std::thread([this, &runner] {
      int which = 0;
      sigwait(&set_, &which);
      runner.Stop();
    });
  }
  void Join() {
    if (!thread_.joinable()) return;
    pthread_kill(thread_.native_handle(), SIGTERM);
    thread_.join();
  }

 private:
  sigset_t set_;
  std::thread thread_;
};

absl::StatusOr<Enrollee> MakeEnrollee(const config::AgentConfig& config,
                                      const AgentId& id,
                                      const Identity& identity) {
  EnrolleeOptions options{.agent_id = id,
                          .ek_template = identity.ek_template,
                          .ek_certificates = {},
                          .ek_public = identity.ek.Serialize(),
                          .ak_public = identity.ak.Serialize(),
                          .enrollment_token = {},
                          .agent_version = CUPEL_VERSION};
  CUPEL_ASSIGN_OR_RETURN(options.ek_certificates,
                         LoadEkCertificates(config, identity));
  if (!config.enrollment_token_file.empty()) {
    CUPEL_ASSIGN_OR_RETURN(
        const auto token,
        ReadFile(config.enrollment_token_file, kMaxSmallFile));
    options.enrollment_token =
        std::string(absl::StripAsciiWhitespace(AsText(token)));
  }
  return Enrollee::Create(std::move(options));
}

absl::StatusOr<std::string> EnrollAt(const std::string& address,
                                     const ChannelOptions& channel,
                                     const Enrollee& enrollee, Tpm& tpm,
                                     const std::stop_token& stop) {
  CUPEL_ASSIGN_OR_RETURN(const EnrollmentClient client,
                         EnrollmentClient::Create(address, channel));
  CUPEL_ASSIGN_OR_RETURN(
      const EnrollmentClient::Begun begun,
      client.Begin(enrollee.request(), kEnrollmentTimeout, stop));
  CUPEL_ASSIGN_OR_RETURN(
      const tpm::CompleteEnrollment answer,
      enrollee.Answer(begun.challenge, begun.certificate_sha256,
                      [&tpm](std::span<const uint8_t> blob,
                             std::span<const uint8_t> secret) {
                        return tpm.ActivateCredential(
                            {.id_object = ToVector(blob),
                             .encrypted_secret = ToVector(secret)});
                      }));
  return client.Complete(answer, kEnrollmentTimeout, stop);
}

absl::StatusOr<int> Run(const config::AgentConfig& config) {
  SignalThread signals;  // before any other thread is there
  Logger log({.format = config.log_format, .least = config.log_level});
  CUPEL_RETURN_IF_ERROR(MakeStateFolder(config));
  CUPEL_ASSIGN_OR_RETURN(const auto roots,
                         ReadFile(config.ca_file, kMaxSmallFile));
  CUPEL_ASSIGN_OR_RETURN(
      const auto source,
      ImaListSource::Open(config.ima_list, config.ima_count));
  CUPEL_ASSIGN_OR_RETURN(const auto tpm, OpenTpmForKeys(config));
  CUPEL_ASSIGN_OR_RETURN(const AgentId id, LoadAgentId(config));
  CUPEL_ASSIGN_OR_RETURN(const Identity identity, LoadIdentity(config, *tpm));
  CUPEL_ASSIGN_OR_RETURN(const Enrollee enrollee,
                         MakeEnrollee(config, id, identity));
  CUPEL_ASSIGN_OR_RETURN(const auto banks, tpm->AllocatedBanks());
  CUPEL_RETURN_IF_ERROR(DropTo(config.user, config.tcti, log));

  const ChannelOptions channel{.root_certificates = std::string(AsText(roots)),
                               .connect_timeout = config.connect_timeout};
  std::vector<std::string> addresses;
  for (const config::Endpoint& endpoint : config.verifiers) {
    addresses.push_back(endpoint.ToString());
  }
  RunnerOptions options{
      .verifiers = addresses, .channel = channel, .attester = {.agent_id = id}};
  options.attester.agent_version = CUPEL_VERSION;
  options.attester.banks = banks;
  options.attester.big_endian = std::endian::native == std::endian::big;
  options.attester.settle = config.settle;
  options.attester.settle_limit = config.settle_max;
  options.attester.least_interval = config.least_interval;
  options.attester.chunk_size = static_cast<size_t>(config.chunk_size);
  options.rotation.least_delay = config.backoff_min;
  options.rotation.most_delay = config.backoff_max;
  options.poll_interval = config.poll_interval;
  // Enrolment at each start costs little, and what was enrolled stays as it is.
  options.enroll = [&](const std::string& address,
                       const std::stop_token& stop) {
    const auto state = EnrollAt(address, channel, enrollee, *tpm, stop);
    if (!state.ok()) return state.status();
    log.Info("enrolled", {{"verifier", address}, {"state", *state}});
    return absl::OkStatus();
  };
  options.log = [&log](RunnerEvent event, absl::string_view text) {
    if (event == RunnerEvent::kWarning) {
      log.Warning(text);
    } else {
      log.Info(text);
    }
  };
  TpmQuoter quoter(*tpm);
  CUPEL_ASSIGN_OR_RETURN(const auto runner,
                         Runner::Create(std::move(options), quoter, *source));

  log.Info("agent",
           {{"id", id.ToString()}, {"ek", enrollee.ek_fingerprint().Hex()}});
  signals.Watch(*runner);
  runner->Run();
  signals.Join();
  return 0;
}

int Main(int argc, char** argv) {
  CLI::App app("Has this machine's TPM prove what it runs.", "cupel-agent");
  app.set_version_flag("--version", CUPEL_VERSION);
  app.require_subcommand(1);
  app.fallthrough();
  Flags flags;
  app.add_option_function<std::string>(
         "--config",
         [&flags](const std::string& file) { flags.config_file = file; },
         "The configuration (default: /etc/cupel/agent.yaml)")
      ->type_name("FILE");
  app.add_option("--set", flags.set,
                 "Sets an option of the configuration; may be given several "
                 "times")
      ->allow_extra_args(false)
      ->type_name("KEY=VALUE");
  app.add_subcommand("run", "Keep this machine attested until it is ended");
  CLI::App* const identity = app.add_subcommand(
      "identity",
      "Show the endorsement key's fingerprint and certificate. Exit code 1: "
      "there is none");
  CLI::App* const self_test = app.add_subcommand(
      "selftest",
      "Replay this machine's list against its own PCRs. Exit code "
      "0: it fits; 1: it does not; 2: it could not be decided");
  CLI::App* const doctor = app.add_subcommand(
      "doctor",
      "Look at kernel, IMA, TPM, clock, configuration and verifiers, and say "
      "what cures what is wrong. Exit code 0: nothing is; 1: something is; 2: "
      "something could not be checked");
  for (CLI::App* const command : {identity, self_test, doctor}) {
    command->add_flag("--json", flags.json, "Print JSON");
  }
  CLI::App* const emulator = app.add_subcommand(
      "ima-emulator",
      "For a TPM emulator without IMA: measure what COMMAND executes into the "
      "configured list and PCR 10, as the kernel would, and run it");
  emulator->add_option("COMMAND", flags.command, "After --: what to run")
      ->required();
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& asked_for) {
    return app.exit(asked_for);
  } catch (const CLI::ParseError& error) {
    std::cerr << "cupel-agent: " << EscapeForDisplay(error.what())
              << "\nRun cupel-agent --help for more.\n";
    return kUndecided;
  }
  SilenceTssLog();
  const auto result = [&]() -> absl::StatusOr<int> {
    CUPEL_ASSIGN_OR_RETURN(const config::AgentConfig config, LoadConfig(flags));
    if (app.got_subcommand("run")) return Run(config);
    if (app.got_subcommand("identity")) return ShowIdentity(config, flags.json);
    if (app.got_subcommand("selftest")) return SelfTest(config, flags.json);
    if (app.got_subcommand("doctor")) return RunDoctor(config, flags.json);
    return EmulateIma(config, flags.command);
  }();
  if (result.ok()) return *result;
  std::cerr << "cupel-agent: " << result.status().message() << '\n';
  return kUndecided;
}

}  // namespace
}  // namespace cupel::agent

int main(int argc, char** argv) {
  try {
    return cupel::agent::Main(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "cupel-agent: " << cupel::EscapeForDisplay(error.what())
              << '\n';
    return 2;
  }
}
