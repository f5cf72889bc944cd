#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "agent/doctor/checks.h"
#include "agent/tpm/identity.h"
#include "agent/tpm/tcti.h"
#include "common/crypto/certificate.h"
#include "common/util/agent_id.h"
#include "common/util/bytes.h"
#include "common/util/escape.h"
#include "common/util/file.h"
#include "common/util/user.h"

namespace cupel::agent {
namespace {

constexpr size_t kMaxSmallFile = size_t{1} << 20;
constexpr absl::Duration kSoon = absl::Hours(24 * 30);

std::string Day(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d", time, absl::UTCTimeZone());
}

// Others may neither look into it nor put anything there.
void CheckMode(const Machine& machine, const std::string& path, mode_t wanted,
               Observations& found) {
  struct stat info = {};
  if (stat(machine.Path(path).c_str(), &info) != 0) return;
  constexpr mode_t kOthers = S_IRWXG | S_IRWXO;
  if ((info.st_mode & kOthers) == 0) return;
  found.Fail(
      absl::StrCat("others may use ", EscapeForDisplay(path)),
      absl::StrCat("chmod ", wanted >> 6 & 7, "00 ", EscapeForDisplay(path)));
}

void CheckAgentId(const Machine& machine, Observations& found) {
  if (machine.config.agent_id.has_value()) return;
  const std::string path = absl::StrCat(machine.config.state_dir, "/agent_id");
  const auto bytes = ReadFile(machine.Path(path), kMaxSmallFile);
  if (absl::IsNotFound(bytes.status())) return;
  if (!bytes.ok()) {
    found.CouldNotCheck(std::string(bytes.status().message()),
                        "run it as root, or as the agent's own user");
  } else if (!AgentId::Parse(absl::StripTrailingAsciiWhitespace(AsText(*bytes)))
                  .ok()) {
    found.Fail(absl::StrCat(EscapeForDisplay(path), " holds no id"),
               "put the id back that the verifier knows, or remove the file to "
               "get a new one");
  }
}

// True if there is a key to go on with.
bool CheckAk(const Machine& machine, Observations& found) {
  const auto ak = LoadAk(machine.Path(machine.config.state_dir) + "/ak");
  if (ak.ok()) return true;
  if (absl::IsDataLoss(ak.status())) {
    found.Fail(std::string(ak.status().message()),
               "move the file away: a new key is made, with which the machine "
               "enrols again");
  } else if (!absl::IsNotFound(ak.status())) {
    found.CouldNotCheck(std::string(ak.status().message()),
                        "run it as root, or as the agent's own user");
  }
  return false;
}

absl::StatusOr<std::string> ReadCa(const Machine& machine) {
  const auto bytes =
      ReadFile(machine.Path(machine.config.ca_file), kMaxSmallFile);
  if (!bytes.ok()) return bytes.status();
  return std::string(AsText(*bytes));
}

void CheckVerifier(const Machine& machine, const config::Endpoint& verifier,
                   const std::string& roots, Observations& found) {
  const std::string name = EscapeForDisplay(verifier.ToString());
  const auto peer = machine.probe_tls(verifier, roots);
  if (!peer.ok()) {
    const std::string text = absl::StrCat(name, ": ", peer.status().message());
    switch (peer.status().code()) {
      case absl::StatusCode::kNotFound:
        return found.Fail(text, "correct the name in verifiers, or the DNS");
      case absl::StatusCode::kPermissionDenied:
        return found.Fail(
            text,
            "give ca_file the CA of this verifier, verifiers the name that is "
            "in its certificate, and the machine the right time; `cupel-"
            "verifier renew` renews what has ended");
      case absl::StatusCode::kInvalidArgument:
        return found.CouldNotCheck(text, "see verifier.ca");
      default:
        return found.Fail(
            text,
            "see that cupel-verifier runs there, that the port is the one for "
            "agents, and that no firewall is in between");
    }
  }
  if (!peer->speaks_http2) {
    found.Fail(absl::StrCat(name, ": no HTTP/2 is spoken there"),
               "give verifiers the port for agents; a proxy that ends TLS is "
               "not supported");
    return;
  }
  if (machine.now + kSoon > peer->certificate.not_after()) {
    found.Warn(absl::StrCat(name, ": its certificate ends on ",
                            Day(peer->certificate.not_after())),
               "run `cupel-verifier renew` there");
  }
  found.Ok(absl::StrCat(name, ": ", peer->tls_version, ", certificate until ",
                        Day(peer->certificate.not_after())));
}

}  // namespace

void CheckState(const Machine& machine, Observations& found) {
  const std::string& path = machine.config.state_dir;
  const std::string name = EscapeForDisplay(path);
  struct stat info = {};
  if (stat(machine.Path(path).c_str(), &info) != 0) {
    const int error = errno;
    const size_t slash = path.rfind('/');
    const std::string above =
        slash == std::string::npos || slash == 0 ? "/" : path.substr(0, slash);
    if (error == ENOENT && stat(machine.Path(above).c_str(), &info) == 0) {
      found.Ok(absl::StrCat(name, " is made by the first start"));
    } else if (error == ENOENT) {
      found.Fail(absl::StrCat(name, ": the folder above it is not there"),
                 absl::StrCat("mkdir -p ", EscapeForDisplay(above)));
    } else {
      found.CouldNotCheck(absl::StrCat(name, ": ", std::strerror(error)),
                          "run it as root, or as the agent's own user");
    }
    return;
  }
  if (!S_ISDIR(info.st_mode)) {
    found.Fail(absl::StrCat(name, " is no folder"),
               "move it away, or set state_dir");
    return;
  }
  CheckMode(machine, path, S_IRWXU, found);
  CheckMode(machine, path + "/ak", S_IRUSR | S_IWUSR, found);
  CheckAgentId(machine, found);
  const bool has_ak = CheckAk(machine, found);
  found.Ok(absl::StrCat(name, has_ak ? ", with an attestation key"
                                     : ", without an attestation key as yet"));
}

void CheckUser(const Machine& machine, Observations& found) {
  const std::string& user = machine.config.user;
  if (user.empty()) {
    found.Ok("the agent stays who it is");
    return;
  }
  // The list is open by then. The TPM is opened again after an I/O error.
  const std::string path = TctiPath(machine.config.tcti);
  const auto may = machine.may_open(
      user, machine.Path(path.empty() ? "/" : path), !path.empty());
  if (absl::IsNotFound(may.status())) {
    found.Fail(
        std::string(may.status().message()),
        absl::StrCat("useradd --system --groups tss ", EscapeForDisplay(user)));
  } else if (!may.ok()) {
    found.CouldNotCheck(std::string(may.status().message()), "run it as root");
  } else if (!*may) {
    found.Warn(
        absl::StrCat(Quoted(user), " may not open ", EscapeForDisplay(path),
                     ": the agent can't go on after an I/O error"),
        absl::StrCat("usermod --append --groups tss ", EscapeForDisplay(user)));
  } else {
    found.Ok(
        absl::StrCat("becomes ", Quoted(user), " once list and TPM are open"));
  }
}

void CheckCa(const Machine& machine, Observations& found) {
  constexpr char kCure[] =
      "copy ca/certificate.pem of the verifier's PKI (`cupel-verifier init`) "
      "there";
  const auto text = ReadCa(machine);
  if (!text.ok()) {
    found.Fail(std::string(text.status().message()), kCure);
    return;
  }
  const auto roots = crypto::Certificate::BundleFromPem(*text);
  if (!roots.ok()) {
    found.Fail(absl::StrCat(EscapeForDisplay(machine.config.ca_file), ": ",
                            roots.status().message()),
               kCure);
    return;
  }
  for (const crypto::Certificate& root : *roots) {
    if (machine.now < root.not_before()) {
      found.Fail(absl::StrCat(root.Subject(), " is not valid before ",
                              Day(root.not_before())),
                 "set the clock");
    } else if (machine.now > root.not_after()) {
      found.Fail(absl::StrCat(root.Subject(), " is not valid after ",
                              Day(root.not_after())),
                 "`cupel-verifier init` makes a new PKI");
    } else if (machine.now + kSoon > root.not_after()) {
      found.Warn(
          absl::StrCat(root.Subject(), " ends on ", Day(root.not_after())),
          "`cupel-verifier init` makes a new PKI");
    } else {
      found.Ok(absl::StrCat(root.Subject(), ", until ", Day(root.not_after())));
    }
  }
}

void CheckVerifiers(const Machine& machine, Observations& found) {
  if (machine.config.verifiers.empty()) {
    found.Fail("no verifier is named", "set verifiers");
    return;
  }
  const auto roots = ReadCa(machine);
  if (!roots.ok()) {
    found.CouldNotCheck("without the CAs no verifier can be told from another",
                        "see verifier.ca");
    return;
  }
  for (const config::Endpoint& verifier : machine.config.verifiers) {
    CheckVerifier(machine, verifier, *roots, found);
  }
}

}  // namespace cupel::agent
