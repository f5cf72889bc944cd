// Buffers that a kernel measures: keys, critical data, kexec's command line.
#include <algorithm>
#include <string>
#include <vector>

#include "catch2/catch.hpp"
#include "tests/support/status_matchers.h"
#include "tests/vm/keep.h"
#include "tests/vm/lab.h"

namespace cupel::vm {
namespace {

using ::cupel::testing::IsOk;
using ::cupel::testing::Require;

// A certificate of a new key, DER, on the machine's disk.
void AddCertificate(Lab& lab, const std::string& path) {
  REQUIRE_THAT(lab.AddFile(path, ""), IsOk());
  const auto made = Require(testing::RunCommand(
      {"openssl", "req", "-new", "-x509", "-newkey", "rsa:2048", "-nodes",
       "-keyout", "/dev/null", "-subj", "/CN=file signing", "-days", "2",
       "-addext", "subjectKeyIdentifier=hash", "-outform", "DER", "-out",
       lab.RootPath(path)}));
  REQUIRE(made.exit_code == 0);
}

TEST_CASE("Keys, critical data and kexec's command line are judged") {
  const auto lab = Require(Lab::Create());
  AddCertificate(*lab, "/root/known.der");
  AddCertificate(*lab, "/root/unknown.der");
  REQUIRE(
      Require(testing::RunCommand({"install", "-D", ImagePath("kernel/vmlinuz"),
                                   lab->RootPath("/boot/vmlinuz")}))
          .exit_code == 0);
  // The kernel tells its version where critical data is measured at boot.
  REQUIRE_THAT(lab->Boot("ima_hash=sha256 ima_template=ima-ng "
                         "ima_policy=critical_data"),
               IsOk());
  REQUIRE_THAT(lab->LoadImaRules(
                   "measure func=KEY_CHECK keyrings=_ima|_evm template=ima-buf"
                   "\nmeasure func=KEXEC_CMDLINE template=ima-buf\n"
                   "measure func=BPRM_CHECK\n"
                   "measure func=MMAP_CHECK mask=MAY_EXEC"),
               IsOk());
  REQUIRE_THAT(
      lab->machine()
          .Do("keyctl padd asymmetric '' $(keyctl newring _ima @u) < "
              "/root/known.der && keyctl padd asymmetric '' $(keyctl newring "
              "_evm @u) < /root/known.der && kexec -s -l /boot/vmlinuz "
              "--command-line='root=/dev/vda quiet' && kexec -s -u")
          .status(),
      IsOk());

  // A policy of what the disk holds and of the buffers that were seen.
  const std::string list = Require(lab->FetchList());
  const auto shown = Require(lab->Offline({"log", "show", list}));
  for (const char* name :
       {" ima-buf ", " kernel_version ", " _ima ", " _evm ", "kexec-cmdline"}) {
    INFO(name);
    CHECK(shown.out.find(name) != std::string::npos);
  }
  const std::string policy = Require(lab->MakePolicy("sha256", list));
  REQUIRE_THAT(lab->Add({"--allowlist", policy}), IsOk());
  REQUIRE_THAT(lab->StartAgent(), IsOk());
  REQUIRE_THAT(lab->AwaitTrustedAgain(), IsOk());

  REQUIRE_THAT(lab->machine()
                   .Do("keyctl padd asymmetric '' $(keyctl search @u keyring "
                       "_ima) < /root/unknown.der")
                   .status(),
               IsOk());
  REQUIRE_THAT(lab->AwaitState("FAILED"), IsOk());
  const std::vector<std::string> findings = Require(lab->Findings());
  REQUIRE(findings.size() == 1);
  CHECK((findings.front() == "ima.buffer_not_in_policy" ||
         findings.front() == "ima.buffer_mismatch"));
  REQUIRE_THAT(Keep(*lab, "vm-buffers"), IsOk());
}

}  // namespace
}  // namespace cupel::vm
