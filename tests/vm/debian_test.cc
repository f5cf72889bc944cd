// A Debian as its administrator knows it: systemd, our service as installed,
// IMA's keys and policy out of the initramfs, and a package more.
#include <algorithm>
#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "catch2/catch.hpp"
#include "common/crypto/digest.h"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "nlohmann/json.hpp"
#include "tests/support/status_matchers.h"
#include "tests/vm/keep.h"
#include "tests/vm/lab.h"

namespace cupel::vm {
namespace {

using ::cupel::testing::IsOk;
using ::cupel::testing::Require;

constexpr char kSystemd[] = "/usr/lib/systemd/systemd";

// A policy of the certificate that debian.sh has put into /etc/keys/ima, as a
// key of the keyring _ima: its path.
std::string MakeKeyPolicy(const Lab& lab) {
  const auto certificate =
      Require(ReadFile(ImagePath("debian/signer.der"), 1 << 20));
  const crypto::Digest digest =
      crypto::Hash(crypto::HashAlgorithm::kSha256, certificate);
  nlohmann::json policy;
  policy["keyrings"]["_ima"] = nlohmann::json::array({digest.Hex()});
  std::string path = lab.Path("keys.json");
  REQUIRE_THAT(WriteFile(path, policy.dump()), IsOk());
  return path;
}

// A policy of what the guest has measured that is no file, and of nothing else
// (the kernel's own keys and state, which no image has): its path.
std::string MakeBufferPolicy(Lab& lab) {
  std::string path = lab.Path("buffers.json");
  const auto made =
      Require(lab.Offline({"policy", "create", "--buffers", "--ima-list",
                           Require(lab.FetchList()), "--output", path}));
  INFO(made.err);
  REQUIRE(made.exit_code == 0);
  auto policy = nlohmann::json::parse(Require(ReadFile(path, 1 << 20)));
  policy["digests"] = nlohmann::json::object();
  policy["keyrings"].erase("_ima");
  REQUIRE_THAT(WriteFile(path, policy.dump()), IsOk());
  return path;
}

// Names in the order of the guest's list.
std::vector<std::string> RecordedNames(Lab& lab) {
  const auto shown =
      Require(lab.Offline({"log", "show", Require(lab.FetchList()), "--json"}));
  REQUIRE(shown.exit_code == 0);
  std::vector<std::string> names;
  for (const auto line : absl::StrSplit(shown.out, '\n', absl::SkipEmpty())) {
    names.push_back(nlohmann::json::parse(line).value("path", ""));
  }
  return names;
}

// Id and path of each finding on record, notices apart.
std::set<std::pair<std::string, std::string>> FoundPaths(Lab& lab) {
  const nlohmann::json status = Require(lab.Status());
  std::set<std::pair<std::string, std::string>> found;
  for (const nlohmann::json& finding : status["findings"]) {
    if (finding.value("severity", "") == "notice") continue;
    found.insert({finding.value("id", ""), finding.value("path", "")});
  }
  return found;
}

TEST_CASE(
    "A Debian is trusted by its image, and a new package once it is known",
    "[debian]") {
  const auto lab =
      Require(Lab::Create({.image = {.root = "debian/root",
                                     .initramfs = "debian/initramfs",
                                     .unavailable = "debian/unavailable"}}));
  const auto operate = [&](const std::vector<std::string>& arguments) {
    const auto result = Require(lab->Tenant(arguments));
    INFO(result.out << result.err);
    REQUIRE(result.exit_code == 0);
  };
  operate({"policy", "add", "base", Require(lab->MakePolicy())});
  operate({"policy", "add", "keys", MakeKeyPolicy(*lab)});
  REQUIRE_THAT(
      lab->Boot("rw ima_hash=sha256 ima_template=ima-ng ima_policy=tcb "
                "net.ifnames=0",
                {.memory_megabytes = 768}),
      IsOk());
  const std::string system = Require(lab->machine().Do(
      "systemctl is-system-running --wait; systemctl --failed --no-legend; "
      "systemctl is-active cupel-agent",
      std::chrono::seconds(240)));
  REQUIRE(system == "running\nactive\n");

  // More of it than a boot takes: programs and their libraries, of which the
  // loader says what they are in place of running them.
  REQUIRE_THAT(lab->machine()
                   .Do("for program in /usr/bin/[a-p]*; do "
                       "LD_TRACE_LOADED_OBJECTS=1 $program; done "
                       "</dev/null >/dev/null 2>&1; true",
                       std::chrono::seconds(180))
                   .status(),
               IsOk());
  operate({"policy", "add", "buffers", MakeBufferPolicy(*lab)});
  REQUIRE_THAT(lab->Add({"--policy", "base", "--policy", "keys", "--policy",
                         "buffers", "--ima-policy", "/etc/ima/other"}),
               IsOk());
  // It was turned away when it came, and would ask again in half a minute.
  REQUIRE_THAT(lab->machine().Do("systemctl restart cupel-agent").status(),
               IsOk());
  // The right policy is another one.
  REQUIRE_THAT(lab->AwaitState("PENDING"), IsOk());
  const auto unproven = [&] {
    return absl::StrContains(Require(lab->Status()).value("reason", ""),
                             "ima.policy_unproven");
  };
  for (int tries = 0; tries < 600 && !unproven(); ++tries) {
    absl::SleepFor(absl::Milliseconds(100));
  }
  CHECK(unproven());
  operate({"update", kAgentId, "--ima-policy", "/etc/ima/ima-policy"});
  REQUIRE_THAT(lab->AwaitTrustedAgain(), IsOk());
  const nlohmann::json trusted = Require(lab->Status());
  CHECK(trusted.value("entries", 0) >= 300);
  CHECK(Require(lab->Findings()).empty());

  // Keys and policy were there before anything of the root file system ran.
  const std::vector<std::string> names = RecordedNames(*lab);
  const auto place = [&](const std::string& name) {
    INFO(name);
    const auto found = std::ranges::find(names, name);
    REQUIRE(found != names.end());
    return found - names.begin();
  };
  CHECK(place("/etc/ima/ima-policy") < place("_ima"));
  CHECK(place("_ima") < place(kSystemd));
  CHECK(absl::StrContains(Require(lab->machine().Read("/proc/keys")),
                          "file signer"));

  // What the package brings is found where it ran, and nothing else is.
  REQUIRE_THAT(lab->machine()
                   .Do("/usr/bin/dpkg -i /root/new.deb && "
                       "/usr/bin/datefudge 2010-01-01 /usr/bin/date",
                       std::chrono::seconds(180))
                   .status(),
               IsOk());
  REQUIRE_THAT(lab->AwaitStateOfNow("FAILED"), IsOk());
  CHECK(FoundPaths(*lab) ==
        std::set<std::pair<std::string, std::string>>{
            {"ima.not_in_policy", "/usr/bin/datefudge"},
            {"ima.not_in_policy",
             "/usr/lib/x86_64-linux-gnu/datefudge/datefudge.so"}});

  // The image gets it as well; docs/operations.md, Giving a second chance.
  REQUIRE(Require(testing::RunCommand({"dpkg-deb", "-x",
                                       ImagePath("debian/new.deb"),
                                       lab->RootPath("/")}))
              .exit_code == 0);
  operate({"policy", "update", "base", Require(lab->MakePolicy())});
  CHECK(Require(lab->Status()).value("state", "") == "FAILED");
  operate({"reactivate", kAgentId});
  REQUIRE_THAT(lab->AwaitTrustedAgain(), IsOk());
  CHECK(Require(lab->Findings()).empty());
  const nlohmann::json again = Require(lab->Status());
  for (const char* counter : {"reset_count", "restart_count"}) {
    CHECK(again.at(counter) == trusted.at(counter));
  }

  REQUIRE_THAT(Keep(*lab, "vm-debian"), IsOk());

  // What can't be used makes no initramfs.
  const auto image_fails = [&](const std::string& change,
                               const std::string& why) {
    INFO(change);
    const auto refused = Require(lab->machine().Run(absl::StrCat(
        change,
        " && rm -rf /run/image && mkdir /run/image && "
        "verbose=n DESTDIR=/run/image /usr/share/initramfs-tools/hooks/"
        "cupel-ima")));
    INFO(refused.out);
    CHECK(refused.exit_code == 1);
    CHECK(absl::StrContains(refused.out, why));
  };
  image_fails("echo text > /etc/keys/ima/other.der",
              "/etc/keys/ima/other.der is no certificate");
  image_fails("ln -sf /nowhere /etc/keys/ima/other.der",
              "/etc/keys/ima/other.der is no file, or leads to none");
  image_fails(
      "rm /etc/keys/ima/other.der; cp /etc/ima/ima-policy /run && "
      "echo '# measure' > /etc/ima/ima-policy",
      "/etc/ima/ima-policy can't be read, or has no rule");
  image_fails("ln -sf /nowhere /etc/ima/ima-policy",
              "/etc/ima/ima-policy can't be read, or has no rule");
  image_fails(
      "cp --remove-destination /run/ima-policy /etc/ima && "
      "mv /usr/bin/keyctl /usr/bin/keyctl.away",
      "can't be loaded without keyctl");
  REQUIRE_THAT(
      lab->machine()
          .Do("mv /usr/bin/keyctl.away /usr/bin/keyctl && "
              "rm -rf /run/image && mkdir /run/image && "
              "verbose=n DESTDIR=/run/image /usr/share/initramfs-tools/hooks/"
              "cupel-ima")
          .status(),
      IsOk());

  // A key that is none to the kernel, and a policy that it takes no more, are
  // told on the console.
  REQUIRE_THAT(lab->machine()
                   .Do("echo 0text > /etc/keys/ima/other.der && "
                       "/usr/share/initramfs-tools/scripts/init-top/"
                       "00-cupel-ima; true")
                   .status(),
               IsOk());
  const std::string console = lab->machine().Console();
  CHECK(absl::StrContains(console, "/etc/keys/ima/other.der is refused"));
  CHECK(absl::StrContains(console, "/etc/ima/ima-policy is refused"));
}

TEST_CASE("A Debian whose kernel refuses the initramfs' IMA policy fails",
          "[debian]") {
  const auto lab =
      Require(Lab::Create({.image = {.root = "debian/root",
                                     .initramfs = "debian/initramfs-refused",
                                     .unavailable = "debian/unavailable"}}));
  const std::string policy = Require(lab->MakePolicy());
  REQUIRE_THAT(
      lab->Boot("rw ima_hash=sha256 ima_template=ima-ng ima_policy=tcb "
                "net.ifnames=0",
                {.memory_megabytes = 768}),
      IsOk());
  REQUIRE_THAT(
      lab->Add({"--allowlist", policy, "--ima-policy", "/etc/ima/ima-policy"}),
      IsOk());
  REQUIRE_THAT(
      lab->machine()
          .Do("systemctl restart cupel-agent", std::chrono::seconds(120))
          .status(),
      IsOk());
  REQUIRE_THAT(lab->AwaitState("FAILED"), IsOk());
  // It was measured before it was refused. Later systemd loads the good one.
  const std::vector<std::string> names = RecordedNames(*lab);
  const auto policy_read = std::ranges::find(names, "/etc/ima/ima-policy");
  CHECK(policy_read < std::ranges::find(names, "/etc/ima/policy-refused"));
  CHECK(policy_read < std::ranges::find(names, kSystemd));
  CHECK(FoundPaths(*lab).count(
            {"ima.digest_mismatch", "/etc/ima/policy-refused"}) == 1);
}

}  // namespace
}  // namespace cupel::vm
