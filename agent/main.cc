// cupel-agent: has this machine's TPM prove what it runs.
#include <grp.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "agent/commands/commands.h"
#include "agent/enrollment/enrollee.h"
#include "agent/rpc/enrollment_client.h"
#include "agent/rpc/runner.h"
#include "agent/sources/ima_list_source.h"
#include "agent/tpm/esys_tpm.h"
#include "common/config/agent_config.h"
#include "common/config/loader.h"
#include "common/tpm/ek_template.h"
#include "common/util/bytes.h"
#include "common/util/escape.h"
#include "common/util/file.h"
#include "common/util/log.h"
#include "common/util/status_macros.h"

namespace cupel::agent {
namespace {

constexpr int kUndecided = 2;  // bad usage, or it could not be done
constexpr size_t kMaxSmallFile = size_t{1} << 20;
constexpr absl::Duration kEnrollmentTimeout = absl::Seconds(30);

struct Flags {
  std::string config_file;
  std::vector<std::string> set;
  std::vector<std::string> command;
};

absl::StatusOr<config::AgentConfig> LoadConfig(const Flags& flags) {
  config::Sources sources = config::DefaultSources("agent");
  if (!flags.config_file.empty()) {
    sources.file = flags.config_file;
    sources.file_required = true;
  }
  for (const std::string& option : flags.set) {
    const size_t equals = option.find('=');
    if (equals == std::string::npos) {
      return absl::InvalidArgumentError(
          absl::StrCat("--set ", Quoted(option), ": KEY=VALUE is expected"));
    }
    sources.flags.push_back(
        {option.substr(0, equals), {option.substr(equals + 1)}});
  }
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

class KernelList : public ListSource {
 public:
  explicit KernelList(ImaListSource& source) : source_(source) {}
  absl::StatusOr<uint64_t> EntryCount() override {
    return source_.EntryCount();
  }
  absl::StatusOr<std::vector<uint8_t>> ReadFrom(uint64_t offset,
                                                size_t max_size) override {
    return source_.ReadFrom(offset, max_size);
  }

 private:
  ImaListSource& source_;
};

// Becomes `user` for good. What was opened before stays open.
absl::Status DropTo(const std::string& user) {
  if (user.empty()) return absl::OkStatus();
  const passwd* const entry = getpwnam(user.c_str());
  if (entry == nullptr) {
    return absl::NotFoundError(
        absl::StrCat("user: there is no ", Quoted(user), " on this machine"));
  }
  if (initgroups(user.c_str(), entry->pw_gid) != 0 ||
      setgid(entry->pw_gid) != 0 || setuid(entry->pw_uid) != 0 ||
      geteuid() != entry->pw_uid || (entry->pw_uid != 0 && setuid(0) == 0)) {
    return absl::PermissionDeniedError(
        absl::StrCat("user: can't become ", Quoted(user), "; start as root"));
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
  // True if one has come while nothing watched.
  bool Wait(absl::Duration duration) const {
    const timespec time = absl::ToTimespec(duration);
    return sigtimedwait(&set_, nullptr, &time) > 0;
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
                                     const Enrollee& enrollee, Tpm& tpm) {
  CUPEL_ASSIGN_OR_RETURN(const EnrollmentClient client,
                         EnrollmentClient::Create(address, channel));
  CUPEL_ASSIGN_OR_RETURN(const EnrollmentClient::Begun begun,
                         client.Begin(enrollee.request(), kEnrollmentTimeout));
  CUPEL_ASSIGN_OR_RETURN(
      const tpm::CompleteEnrollment answer,
      enrollee.Answer(begun.challenge, begun.certificate_sha256,
                      [&tpm](std::span<const uint8_t> blob,
                             std::span<const uint8_t> secret) {
                        return tpm.ActivateCredential(
                            {.id_object = ToVector(blob),
                             .encrypted_secret = ToVector(secret)});
                      }));
  return client.Complete(answer, kEnrollmentTimeout);
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
  CUPEL_ASSIGN_OR_RETURN(const auto tpm, OpenTpm(config));
  CUPEL_ASSIGN_OR_RETURN(const AgentId id, LoadAgentId(config));
  CUPEL_ASSIGN_OR_RETURN(const Identity identity, LoadIdentity(config, *tpm));
  CUPEL_ASSIGN_OR_RETURN(const Enrollee enrollee,
                         MakeEnrollee(config, id, identity));
  CUPEL_ASSIGN_OR_RETURN(const auto banks, tpm->AllocatedBanks());
  CUPEL_RETURN_IF_ERROR(DropTo(config.user));

  const ChannelOptions channel{.root_certificates = std::string(AsText(roots))};
  std::vector<std::string> addresses;
  for (const config::Endpoint& endpoint : config.verifiers) {
    addresses.push_back(endpoint.ToString());
  }
  RunnerOptions options{
      .verifiers = addresses, .channel = channel, .attester = {.agent_id = id}};
  options.attester.agent_version = CUPEL_VERSION;
  options.attester.banks = banks;
  options.attester.settle = config.settle;
  options.attester.settle_limit = config.settle_max;
  options.attester.least_interval = config.least_interval;
  options.attester.chunk_size = static_cast<size_t>(config.chunk_size);
  options.rotation.least_delay = config.backoff_min;
  options.rotation.most_delay = config.backoff_max;
  options.poll_interval = config.poll_interval;
  options.log = [&log](RunnerEvent event, absl::string_view text) {
    if (event == RunnerEvent::kWarning) {
      log.Warning(text);
    } else {
      log.Info(text);
    }
  };
  TpmQuoter quoter(*tpm);
  KernelList list(*source);
  CUPEL_ASSIGN_OR_RETURN(const auto runner,
                         Runner::Create(std::move(options), quoter, list));

  log.Info("agent",
           {{"id", id.ToString()}, {"ek", enrollee.ek_fingerprint().Hex()}});
  // Enrolment at each start costs little, and what was enrolled stays as it is.
  absl::Duration delay = config.backoff_min;
  for (size_t attempt = 0;; ++attempt) {
    const std::string& address = addresses[attempt % addresses.size()];
    const auto state = EnrollAt(address, channel, enrollee, *tpm);
    if (state.ok()) {
      log.Info("enrolled", {{"verifier", address}, {"state", *state}});
      break;
    }
    log.Warning("not enrolled",
                {{"verifier", address}, {"error", state.status()}});
    if (signals.Wait(delay)) return 0;
    delay = std::min(delay * 2, config.backoff_max);
  }
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
  app.add_option("--config", flags.config_file,
                 "The configuration (default: /etc/cupel/agent.yaml)")
      ->type_name("FILE");
  app.add_option("--set", flags.set,
                 "Sets an option of the configuration; may be given several "
                 "times")
      ->allow_extra_args(false)
      ->type_name("KEY=VALUE");
  app.add_subcommand("run", "Keep this machine attested until it is ended");
  app.add_subcommand("identity",
                     "Show the endorsement key's fingerprint and certificate");
  app.add_subcommand(
      "selftest",
      "Replay this machine's list against its own PCRs. Exit code "
      "0: it fits; 1: it does not; 2: it could not be decided");
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
    if (app.got_subcommand("identity")) return ShowIdentity(config);
    if (app.got_subcommand("selftest")) return SelfTest(config);
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
