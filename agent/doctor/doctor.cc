#include "agent/doctor/doctor.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <exception>
#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "agent/doctor/user_access.h"
#include "common/util/bytes.h"
#include "common/util/escape.h"
#include "common/util/file.h"
#include "common/util/status_macros.h"
#include "common/util/steady_clock.h"

namespace cupel::agent {
namespace {

constexpr Check kChecks[] = {
    {"securityfs", CheckSecurityfs},
    {"kernel.config", CheckKernelConfig},
    {"kernel.cmdline", CheckCommandLine},
    {"ima.policy", CheckImaPolicy},
    {"ima.list", CheckList},
    {"ima.entries", CheckEntries},
    {"tpm.tcti", CheckTcti},
    {"tpm.state", CheckTpmState},
    {"tpm.banks", CheckBanks},
    {"tpm.replay", CheckReplay},
    {"tpm.ek", CheckEkCertificate},
    {"clock.system", CheckClock},
    {"clock.tpm", CheckTpmClock},
    {"agent.state", CheckState},
    {"agent.user", CheckUser},
    {"verifier.ca", CheckCa},
    {"verifier.reach", CheckVerifiers},
};

}  // namespace

absl::StatusOr<std::string> Machine::ReadText(const std::string& path) const {
  constexpr size_t kMaxTextSize = size_t{4} << 20;
  CUPEL_ASSIGN_OR_RETURN(const auto bytes, ReadFile(Path(path), kMaxTextSize));
  return std::string(AsText(bytes));
}

bool Machine::HasKernelList() const {
  return absl::StartsWith(config.ima_list, "/sys/kernel/security/");
}

std::span<const Check> DoctorChecks() { return kChecks; }

Report Examine(const Machine& machine) {
  Report report;
  for (const Check& check : kChecks) {
    Observations found;
    try {
      check.function(machine, found);
    } catch (const std::exception& error) {
      found.CouldNotCheck(EscapeForDisplay(error.what()),
                          "report this as a defect of cupel-agent");
    }
    report.Add(check.id, std::move(found));
  }
  return report;
}

Machine ThisMachine(config::AgentConfig config,
                    absl::StatusOr<std::unique_ptr<Tpm>> tpm) {
  Machine machine{.config = std::move(config), .tpm = std::move(tpm)};
  utsname name = {};
  if (uname(&name) == 0) machine.kernel_release = name.release;
  machine.user_id = geteuid();
  machine.now = absl::Now();
  machine.may_open = MayOpen;
  machine.probe_tls = [timeout = machine.config.connect_timeout](
                          const config::Endpoint& verifier,
                          const std::string& roots_pem) {
    return ProbeTls(verifier.host, verifier.port, roots_pem, timeout);
  };
  machine.steady_clock = SteadyNow;
  machine.sleep = [](absl::Duration duration) { absl::SleepFor(duration); };
  return machine;
}

}  // namespace cupel::agent
