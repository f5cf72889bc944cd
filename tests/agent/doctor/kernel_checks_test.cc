#include <sys/stat.h>

#include <algorithm>
#include <string>

#include "catch2/catch.hpp"
#include "tests/agent/doctor/doctor_rig.h"
#include "tests/support/list_builder.h"

namespace cupel::agent {
namespace {

using ::cupel::testing::FileDigestOf;

constexpr char kConfig[] = "/boot/config-6.1.0-18-amd64";
constexpr char kIma[] = "/sys/kernel/security/ima";
constexpr char kPolicy[] = "/sys/kernel/security/ima/policy";
constexpr char kPolicyFile[] = "/etc/ima/ima-policy";

TEST_CASE("securityfs has to be mounted") {
  DoctorRig rig;
  CHECK(Says(rig.Check("securityfs"), Outcome::kOk, "mounted"));
  rig.Write("/proc/mounts", "proc /proc proc rw 0 0\n");
  CHECK(Says(rig.Check("securityfs"), Outcome::kFailure, "not mounted"));
  rig.Write("/proc/mounts", "tmpfs /sys/kernel/security tmpfs rw 0 0\n");
  CHECK(Says(rig.Check("securityfs"), Outcome::kFailure, "not mounted"));
  rig.Remove("/proc/mounts");
  CHECK(Says(rig.Check("securityfs"), Outcome::kUndecided, "/proc/mounts"));
}

TEST_CASE("the kernel has to have IMA, and a TPM before it") {
  DoctorRig rig;
  CHECK(Says(rig.Check("kernel.config"), Outcome::kOk, kConfig));
  SECTION("built without it") {
    rig.Write(kConfig, "# CONFIG_IMA is not set\nCONFIG_TCG_TPM=y\n");
    CHECK(Says(rig.Check("kernel.config"), Outcome::kWarning,
               "another kernel's"));
    rig.Remove(kIma);
    CHECK(Says(rig.Check("kernel.config"), Outcome::kFailure, "has no IMA"));
  }
  SECTION("the TPM is a module") {
    rig.Write(kConfig, "CONFIG_IMA=y\nCONFIG_TCG_TPM=m\nCONFIG_TCG_TIS=m\n");
    CHECK(Says(rig.Check("kernel.config"), Outcome::kWarning,
               "CONFIG_TCG_TPM is not built in"));
  }
  SECTION("its driver is a module") {
    rig.Write(kConfig, "CONFIG_IMA=y\nCONFIG_TCG_TPM=y\nCONFIG_TCG_TIS=m\n");
    CHECK(Says(rig.Check("kernel.config"), Outcome::kWarning, "no driver"));
  }
  SECTION("another PCR") {
    rig.Write(kConfig,
              "CONFIG_IMA=y\nCONFIG_TCG_TPM=y\nCONFIG_TCG_CRB=y\n"
              "CONFIG_IMA_MEASURE_PCR_IDX=11\n");
    CHECK(Says(rig.Check("kernel.config"), Outcome::kWarning, "PCR 11"));
  }
  SECTION("no configuration") {
    rig.Remove(kConfig);
    CHECK(Says(rig.Check("kernel.config"), Outcome::kWarning,
               "IMA is there, but"));
    rig.Remove(kIma);
    CHECK(Says(rig.Check("kernel.config"), Outcome::kUndecided,
               "no configuration of the kernel"));
  }
  SECTION("a configuration that is none") {
    rig.Write(kConfig, "nothing of the kind\n");
    rig.Remove(kIma);
    CHECK(Says(rig.Check("kernel.config"), Outcome::kUndecided,
               "no option of a kernel"));
  }
  SECTION("a compressed one that is none") {
    rig.Write("/proc/config.gz", "CONFIG_IMA=y\n");
    rig.Remove(kIma);
    CHECK(Says(rig.Check("kernel.config"), Outcome::kUndecided, "gzip"));
  }
}

TEST_CASE("what the command line asks of IMA") {
  DoctorRig rig;
  CHECK(Says(rig.Check("kernel.cmdline"), Outcome::kOk, "ima_hash=sha256"));
  rig.Write("/proc/cmdline", "root=/dev/sda1 ima_template=ima\n");
  CHECK(Says(rig.Check("kernel.cmdline"), Outcome::kWarning, "ima_template"));
  rig.Write("/proc/cmdline", "root=/dev/sda1 ima_hash=sha1\n");
  CHECK(Says(rig.Check("kernel.cmdline"), Outcome::kWarning, "sha1"));
  rig.Write("/proc/cmdline", "ima=off\n");
  CHECK(Says(rig.Check("kernel.cmdline"), Outcome::kFailure, "ima=off"));
  rig.Remove("/proc/cmdline");
  CHECK(Says(rig.Check("kernel.cmdline"), Outcome::kUndecided, "cmdline"));
}

// The kernel shows its file for policies to nobody.
void MakeWriteOnly(const DoctorRig& rig) {
  REQUIRE(chmod(rig.machine.Path(kPolicy).c_str(), S_IWUSR) == 0);
}

TEST_CASE("the policy's gaps are named") {
  DoctorRig rig;
  CHECK(Says(rig.Check("ima.policy"), Outcome::kOk,
             "11 rules (1 dont_measure, 10 measure)"));
  const std::string good =
      "measure func=MMAP_CHECK mask=MAY_EXEC\n"
      "measure func=MODULE_CHECK\nmeasure func=FIRMWARE_CHECK\n"
      "measure func=POLICY_CHECK\nmeasure func=KEXEC_KERNEL_CHECK\n"
      "measure func=KEXEC_INITRAMFS_CHECK\nmeasure func=KEXEC_CMDLINE\n"
      "measure func=KEY_CHECK\nmeasure func=CRITICAL_DATA\n";
  const std::string programs = "measure func=BPRM_CHECK mask=MAY_EXEC\n";
  SECTION("programs are not measured") {
    rig.Write(kPolicy, good);
    CHECK(Says(rig.Check("ima.policy"), Outcome::kFailure,
               "programs are not measured"));
  }
  SECTION("programs of root alone") {
    rig.Write(kPolicy, good + "measure func=BPRM_CHECK uid=0\n");
    CHECK(Says(rig.Check("ima.policy"), Outcome::kFailure,
               "measured for some alone (measure func=BPRM_CHECK uid=0)"));
  }
  SECTION("tmpfs") {
    rig.Write(
        kPolicy,
        good + "dont_measure func=BPRM_CHECK fsmagic=0x1021994\n" + programs);
    CHECK(Says(rig.Check("ima.policy"), Outcome::kWarning,
               "tmpfs is left out (dont_measure func=BPRM_CHECK "
               "fsmagic=0x1021994 comes first) of programs"));
  }
  SECTION("the policy itself") {
    const std::string line = "measure func=POLICY_CHECK\n";
    std::string others = good + programs;
    others.erase(others.find(line), line.size());
    rig.Write(kPolicy, others);
    CHECK(Says(rig.Check("ima.policy"), Outcome::kWarning,
               "IMA policies are not measured"));
  }
  SECTION("everything") {
    rig.Write(kPolicy, "");
    CHECK(Says(rig.Check("ima.policy"), Outcome::kFailure, "no policy"));
  }
}

TEST_CASE("a policy that was loaded and is not shown is no pass") {
  DoctorRig rig;
  rig.Remove(kPolicy);
  CHECK(Says(rig.Check("ima.policy"), Outcome::kUndecided,
             "no CONFIG_IMA_READ_POLICY); tried /etc/ima/ima-policy: "));
  CHECK(Examine(rig.machine).ExitCode() == 2);

  SECTION("unless the list has the digest of its file") {
    constexpr char kNoEntry[] = "the list has no entry with its digest";
    const std::string text = "measure func=BPRM_CHECK\n";
    rig.Write(kPolicyFile, text);
    CHECK(Says(rig.Check("ima.policy"), Outcome::kUndecided, kNoEntry));
    auto other = rig.list;
    other.AddFile(kPolicyFile, FileDigestOf("another policy"));
    rig.SetList(other);
    CHECK(Says(rig.Check("ima.policy"), Outcome::kUndecided, kNoEntry));
    // Either of them may have been read without being loaded.
    other.AddFile(kPolicyFile, FileDigestOf(text));
    rig.SetList(other);
    CHECK(Says(rig.Check("ima.policy"), Outcome::kUndecided,
               "several digests of it"));
    rig.list.AddFile(kPolicyFile, FileDigestOf(text));
    rig.SetList(rig.list);
    const auto said = rig.Check("ima.policy");
    CHECK(said.front().outcome == Outcome::kOk);
    CHECK(said.front().text ==
          "1 rules (1 measure), /etc/ima/ima-policy, which the list says was "
          "read");
    CHECK(said.size() == 10);
  }
  SECTION("nor where there is no IMA") {
    rig.Remove(kIma);
    CHECK(Says(rig.Check("ima.policy"), Outcome::kUndecided,
               "/sys/kernel/security/ima: No such file"));
  }
}

TEST_CASE("a kernel that shows no policy, and took none, has its own") {
  DoctorRig rig;
  MakeWriteOnly(rig);
  // Whatever is in the file, and whatever the list has of another.
  const std::string text = "measure func=BPRM_CHECK\n";
  rig.Write(kPolicyFile, text);
  rig.list.AddFile(kPolicyFile, FileDigestOf(text));
  rig.SetList(rig.list);
  CHECK(Says(rig.Check("ima.policy"), Outcome::kFailure, "no policy"));
  SECTION("the command line's") {
    rig.Write("/proc/cmdline", "ima_policy=\"tcb|secure_boot\"\n");
    const auto said = rig.Check("ima.policy");
    CHECK(said.front().outcome == Outcome::kOk);
    CHECK(said.front().text ==
          "20 rules (13 dont_measure, 7 measure), built in, by the kernel's "
          "command line");
    CHECK(said.size() == 7);
    CHECK(std::ranges::all_of(said, [&](const Observation& one) {
      return one.outcome == Outcome::kWarning || &one == &said.front();
    }));
  }
  SECTION("which has to be read") {
    rig.Remove("/proc/cmdline");
    CHECK(Says(rig.Check("ima.policy"), Outcome::kUndecided, "/proc/cmdline"));
  }
  SECTION("unless it takes several") {
    rig.Write(kConfig,
              "CONFIG_IMA=y\nCONFIG_TCG_TPM=y\nCONFIG_TCG_TIS=y\n"
              "CONFIG_IMA_WRITE_POLICY=y\n");
    CHECK(Says(rig.Check("ima.policy"), Outcome::kUndecided,
               "is write-only (no CONFIG_IMA_READ_POLICY), and the kernel "
               "takes several policies (CONFIG_IMA_WRITE_POLICY)"));
  }
  SECTION("or nobody knows whether it does") {
    rig.Remove(kConfig);
    CHECK(Says(rig.Check("ima.policy"), Outcome::kUndecided,
               "whether the kernel takes several policies is unknown"));
  }
}

TEST_CASE("an emulator's list is never taken for the kernel's") {
  DoctorRig rig;
  rig.machine.config.ima_list = "/run/emulated";
  rig.machine.config.ima_count.clear();
  rig.Write("/run/emulated",
            {reinterpret_cast<const char*>(rig.list.bytes().data()),
             rig.list.bytes().size()});
  for (const char* const id :
       {"securityfs", "kernel.config", "kernel.cmdline", "ima.policy"}) {
    CHECK(Says(rig.Check(id), Outcome::kWarning, "a plain file"));
  }
  CHECK(Says(rig.Check("ima.list"), Outcome::kOk, "5 entries"));
  CHECK(Says(rig.Check("tpm.replay"), Outcome::kOk, "5 entries"));
}

}  // namespace
}  // namespace cupel::agent
