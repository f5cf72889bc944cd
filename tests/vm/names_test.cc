// Names of every kind, as a real kernel records them.
#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "catch2/catch.hpp"
#include "nlohmann/json.hpp"
#include "tests/support/status_matchers.h"
#include "tests/vm/keep.h"
#include "tests/vm/lab.h"

namespace cupel::vm {
namespace {

using ::cupel::testing::IsOk;
using ::cupel::testing::Require;

// The paths of the guest's list, as `log show --json` escapes them.
std::vector<std::string> RecordedPaths(Lab& lab) {
  const std::string list = Require(lab.FetchList());
  const auto shown = Require(lab.Offline({"log", "show", list, "--json"}));
  REQUIRE(shown.exit_code == 0);
  std::vector<std::string> paths;
  for (const auto line : absl::StrSplit(shown.out, '\n', absl::SkipEmpty())) {
    paths.push_back(nlohmann::json::parse(line).value("path", ""));
  }
  return paths;
}

std::unique_ptr<Lab> TrustedLab() {
  auto lab = Require(Lab::Create());
  REQUIRE(Require(testing::RunCommand({"install", "-D",
                                       CUPEL_BINARY_DIR "/tests/vm/guest_tool",
                                       lab->RootPath("/usr/bin/guest-tool")}))
              .exit_code == 0);
  REQUIRE_THAT(lab->Boot("ima_hash=sha256 ima_template=ima-ng"), IsOk());
  REQUIRE_THAT(lab->LoadImaPolicy("strict.policy"), IsOk());
  // The kernel's built-in keys are measured: no file has them.
  const std::string policy =
      Require(lab->MakePolicy("sha256", Require(lab->FetchList())));
  REQUIRE_THAT(lab->Add({"--allowlist", policy}), IsOk());
  REQUIRE_THAT(lab->StartAgent(), IsOk());
  REQUIRE_THAT(lab->AwaitTrustedAgain(), IsOk());
  return lab;
}

TEST_CASE("Names that attack whoever shows them are found and escaped") {
  const auto lab = TrustedLab();
  // Twelve folders of 250 bytes, and a name of 200: over 3,200 bytes.
  REQUIRE_THAT(
      lab->machine()
          .Do("cd /srv; d=$(printf 'd%.0s' $(seq 250)); f=$(printf 'f%.0s' "
              "$(seq 200)); for i in $(seq 13); do mkdir $d; cd $d; done; "
              "mkdir -p /srv/n; "
              "run() { printf '#!/bin/sh\\n' > \"$1\"; chmod +x \"$1\"; "
              "\"$1\"; }; run ./$f; cd /srv/n; "
              "run './with space'; run \"$(printf './new\\nline')\"; "
              "run \"$(printf './\\377\\376')\"; "
              "run \"$(printf './\\033[31mred')\"")
          .status(),
      IsOk());
  REQUIRE_THAT(lab->AwaitState("FAILED"), IsOk());
  std::vector<std::string> found;
  for (int tries = 0; tries < 300 && found.size() < 5; ++tries) {
    found.clear();
    const nlohmann::json status = Require(lab->Status());
    for (const auto& finding : status["findings"]) {
      if (finding.contains("path")) found.push_back(finding["path"]);
    }
  }
  CAPTURE(found);
  const auto has = [](const std::vector<std::string>& all,
                      const std::string& path) {
    return std::ranges::count(all, path) == 1;
  };
  const std::vector<std::string> recorded = RecordedPaths(*lab);
  for (const std::string path : {"/srv/n/with_space", "/srv/n/new\nline",
                                 "/srv/n/\\xff\\xfe", "/srv/n/\x1b[31mred"}) {
    INFO(path);
    CHECK(has(recorded, path));
    CHECK(has(found, path));
  }
  CHECK(std::ranges::count_if(found, [](const std::string& path) {
          return path.size() > 3400;
        }) == 1);
  // Nothing of it reaches a terminal as it is.
  const auto shown = Require(lab->Tenant({"explain", kAgentId}));
  CHECK_FALSE(absl::StrContains(shown.out, "\x1b"));
  CHECK_FALSE(absl::StrContains(lab->VerifierLog(), "\x1b"));
  REQUIRE_THAT(Keep(*lab, "vm-names"), IsOk());
}

TEST_CASE("What has no name of its own is found by the name the kernel gives") {
  const auto lab = TrustedLab();
  REQUIRE_THAT(lab->machine()
                   .Do("mkdir -p /srv/t /srv/bound /srv/lower /srv/upper "
                       "/srv/work /srv/merged && guest-tool memfd hidden && "
                       "guest-tool tmpfile /srv/t && "
                       "cp /usr/bin/guest-tool /srv/gone && "
                       "/srv/gone deleted /srv/gone && "
                       "cp /usr/bin/guest-tool /srv/lower/tool && "
                       "insmod /lib/modules/overlay.ko && "
                       "mount -t overlay -o lowerdir=/srv/lower,upperdir="
                       "/srv/upper,workdir=/srv/work overlay /srv/merged && "
                       "/srv/merged/tool nothing && "
                       "cp /usr/bin/guest-tool /srv/t/tool && "
                       "mount -o bind /srv/t /srv/bound && "
                       "/srv/bound/tool nothing && chroot /srv/t /tool nothing")
                   .status(),
               IsOk());
  REQUIRE_THAT(lab->AwaitState("FAILED"), IsOk());
  const std::vector<std::string> paths = RecordedPaths(*lab);
  const auto count = [&](const std::string& path) {
    return std::ranges::count(paths, path);
  };
  CHECK(count("memfd:hidden") == 1);
  CHECK(std::ranges::any_of(paths, [](const std::string& path) {
    return absl::StartsWith(path, "/srv/t/#");
  }));
  CHECK(count("/srv/gone") == 1);
  CHECK(count("/srv/merged/tool") == 1);
  // The path that was used first is the one that is recorded.
  CHECK(count("/srv/bound/tool") == 1);
  CHECK(count("/srv/t/tool") == 0);
  REQUIRE_THAT(Keep(*lab, "vm-nameless"), IsOk());
}

}  // namespace
}  // namespace cupel::vm
