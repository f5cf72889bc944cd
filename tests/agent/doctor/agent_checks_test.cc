#include <sys/stat.h>

#include "absl/strings/str_cat.h"
#include "agent/tpm/identity.h"
#include "catch2/catch.hpp"
#include "tests/agent/doctor/doctor_rig.h"
#include "tests/support/certificate_builder.h"
#include "tests/support/status_matchers.h"

namespace cupel::agent {
namespace {

using ::cupel::testing::CaSpec;
using ::cupel::testing::IsOk;
using ::cupel::testing::MakeCertificate;
using ::cupel::testing::TestTime;
using ::cupel::testing::ToPem;

TEST_CASE("the state folder is the agent's alone, and what it holds is whole") {
  DoctorRig rig;
  const std::string folder = rig.machine.config.state_dir;
  const std::string ak = rig.machine.Path(folder + "/ak");
  CHECK(Says(rig.Check("agent.state"), Outcome::kOk, "without an attestation"));
  REQUIRE_THAT(
      SaveAk(ak, {.ek_name = {1}, .public_blob = {2}, .private_blob = {3}}),
      IsOk());
  CHECK(Says(rig.Check("agent.state"), Outcome::kOk, "with an attestation"));
  SECTION("others may enter") {
    REQUIRE(chmod(rig.machine.Path(folder).c_str(), 0750) == 0);
    CHECK(Says(rig.Check("agent.state"), Outcome::kFailure, "others may use"));
  }
  SECTION("others may read the key") {
    REQUIRE(chmod(ak.c_str(), 0644) == 0);
    CHECK(Says(rig.Check("agent.state"), Outcome::kFailure, "others may use"));
  }
  SECTION("the key's file is damaged") {
    rig.Write(folder + "/ak", "CUPELAK");
    REQUIRE(chmod(ak.c_str(), 0600) == 0);
    CHECK(Says(rig.Check("agent.state"), Outcome::kFailure, "ak"));
  }
  SECTION("the id's file is damaged") {
    rig.Write(folder + "/agent_id", "nobody\n");
    CHECK(Says(rig.Check("agent.state"), Outcome::kFailure, "holds no id"));
  }
  SECTION("it is no folder") {
    rig.Remove(folder);
    rig.Write(folder, "");
    CHECK(Says(rig.Check("agent.state"), Outcome::kFailure, "no folder"));
  }
  SECTION("it is not there yet") {
    rig.Remove(folder);
    CHECK(Says(rig.Check("agent.state"), Outcome::kOk, "first start"));
    rig.Remove("/var/lib/cupel");
    CHECK(Says(rig.Check("agent.state"), Outcome::kFailure, "folder above"));
  }
}

TEST_CASE("the user that the agent becomes has to be able to go on") {
  DoctorRig rig;
  CHECK(Says(rig.Check("agent.user"), Outcome::kOk, "stays"));
  rig.machine.config.user = "cupel";
  std::string asked;
  absl::StatusOr<bool> answer = true;
  rig.machine.may_open = [&](const std::string& user, const std::string& path,
                             bool write) {
    asked = absl::StrCat(user, " ", path, write ? " rw" : " r");
    return answer;
  };
  CHECK(Says(rig.Check("agent.user"), Outcome::kOk, "becomes \"cupel\""));
  CHECK(asked == absl::StrCat("cupel ", rig.root(), "/dev/tpmrm0 rw"));
  answer = false;
  CHECK(Says(rig.Check("agent.user"), Outcome::kWarning, "may not open"));
  answer = absl::NotFoundError("there is no user");
  CHECK(Says(rig.Check("agent.user"), Outcome::kFailure, "no user"));
  answer = absl::UnavailableError("can't become");
  CHECK(Says(rig.Check("agent.user"), Outcome::kUndecided, "can't become"));
}

TEST_CASE("the CAs have to be there, and valid now") {
  DoctorRig rig;
  const std::string path = rig.machine.config.ca_file;
  CHECK(Says(rig.Check("verifier.ca"), Outcome::kOk, "Verifiers"));
  const auto give = [&](absl::Duration begin, absl::Duration end) {
    testing::CertificateSpec spec = CaSpec("CA", 81);
    spec.not_before = TestTime() + begin;
    spec.not_after = TestTime() + end;
    rig.Write(path, ToPem(MakeCertificate(spec).certificate));
  };
  SECTION("none") {
    rig.Remove(path);
    CHECK(Says(rig.Check("verifier.ca"), Outcome::kFailure, "ca.pem"));
    CHECK(Says(rig.Check("verifier.reach"), Outcome::kUndecided,
               "without the CAs"));
  }
  SECTION("no PEM") {
    rig.Write(path, "certificate\n");
    CHECK(Says(rig.Check("verifier.ca"), Outcome::kFailure, "ca.pem"));
  }
  SECTION("ended") {
    give(absl::Hours(-2), absl::Hours(-1));
    CHECK(Says(rig.Check("verifier.ca"), Outcome::kFailure, "not valid after"));
  }
  SECTION("not begun") {
    give(absl::Hours(1), absl::Hours(2));
    CHECK(
        Says(rig.Check("verifier.ca"), Outcome::kFailure, "not valid before"));
  }
  SECTION("about to end") {
    give(absl::Hours(-1), absl::Hours(24));
    CHECK(Says(rig.Check("verifier.ca"), Outcome::kWarning, "ends on"));
  }
}

TEST_CASE("each verifier has to answer, with a certificate that is trusted") {
  DoctorRig rig;
  CHECK(Says(rig.Check("verifier.reach"), Outcome::kOk,
             "verifier.test:8891: TLSv1.3"));
  const auto answer = rig.machine.probe_tls;
  const auto fail_with = [&](absl::Status status) {
    rig.machine.probe_tls = [=](const config::Endpoint& verifier,
                                const std::string& roots) {
      if (verifier.host == "bad.test") return absl::StatusOr<TlsPeer>(status);
      return answer(verifier, roots);
    };
  };
  // One of two is enough to fail.
  rig.machine.config.verifiers.push_back({"bad.test", 8891});
  for (const auto code :
       {absl::StatusCode::kNotFound, absl::StatusCode::kUnavailable,
        absl::StatusCode::kDeadlineExceeded,
        absl::StatusCode::kPermissionDenied}) {
    fail_with(absl::Status(code, "because"));
    CHECK(Says(rig.Check("verifier.reach"), Outcome::kFailure,
               "bad.test:8891: because"));
  }
  fail_with(absl::InvalidArgumentError("because"));
  CHECK(Says(rig.Check("verifier.reach"), Outcome::kUndecided,
             "bad.test:8891: because"));

  TlsPeer peer = *answer({}, "");
  const auto answer_with = [&] {
    rig.machine.probe_tls = [&](const config::Endpoint& verifier,
                                const std::string& roots) {
      return verifier.host == "bad.test" ? absl::StatusOr<TlsPeer>(peer)
                                         : answer(verifier, roots);
    };
    return rig.Check("verifier.reach");
  };
  peer.speaks_http2 = false;
  CHECK(Says(answer_with(), Outcome::kFailure, "no HTTP/2"));
  peer.speaks_http2 = true;
  testing::CertificateSpec spec;
  spec.not_after = TestTime() + absl::Hours(24);
  peer.certificate = MakeCertificate(spec).certificate;
  CHECK(Says(answer_with(), Outcome::kWarning, "its certificate ends"));

  rig.machine.config.verifiers.clear();
  CHECK(Says(rig.Check("verifier.reach"), Outcome::kFailure, "no verifier"));
}

}  // namespace
}  // namespace cupel::agent
