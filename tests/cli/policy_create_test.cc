// policy create.

#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "common/crypto/digest.h"
#include "common/util/bytes.h"
#include "nlohmann/json.hpp"
#include "tests/cli/cli.h"
#include "tests/support/cpio_builder.h"
#include "tests/support/temporary_folder.h"

namespace cupel::testing {
namespace {

namespace fs = std::filesystem;
using Arguments = std::vector<std::string>;
using Json = nlohmann::json;

std::string Sha256(absl::string_view content) {
  return crypto::Hash(crypto::HashAlgorithm::kSha256, AsBytes(content)).Hex();
}

CommandResult Create(const Arguments& arguments) {
  return Tenant(Arguments{"policy", "create"} + arguments);
}

class Files {
 public:
  Files() {
    fs::create_directories(folder / "root/usr/bin");
    fs::create_directories(folder / "root/var/log");
    Spill(folder / "root/usr/bin/ls", "ls");
    Spill(folder / "root/var/log/x", "x");
    Spill(folder / "initrd", Zstd(CpioBuilder()
                                      .Symlink("bin", "usr/bin")
                                      .File("early", "early")
                                      .File("bin/ls", "busybox")
                                      .Build()));
    Spill(folder / "allowlist",
          absl::StrCat(std::string(64, '1'), "  /opt/x\n"));
    Spill(folder / "exclude", "/tmp/.*\n");
  }
  std::string operator/(const std::string& name) const { return folder / name; }

  TemporaryFolder folder;
};

TEST_CASE("policy create: of everything that there is, together") {
  const Files f;
  const std::string base = f / "base.json";
  Spill(base, TextOf(VectorPath("guide/policy.json")));
  const CommandResult result =
      Create({"--rootfs", f / "root", "--initramfs", f / "initrd", "--ima-list",
              QuotedList(), "--allowlist", f / "allowlist", "--exclude",
              f / "exclude", "--base-policy", base, "--skip-path", "/var"});
  CAPTURE(result);
  REQUIRE(result.exit_code == 0);
  const Json policy = Json::parse(result.out);
  const Json before = Json::parse(TextOf(base));
  const Json& digests = policy["digests"];
  CHECK(digests["/early"] == Json::array({Sha256("early")}));
  // Both, since both may run: the initramfs's first, and then the root's.
  CHECK(digests["/usr/bin/ls"].size() >= 2);
  for (const char* content : {"ls", "busybox"}) {
    const Json& list = digests["/usr/bin/ls"];
    CHECK(std::find(list.begin(), list.end(), Sha256(content)) != list.end());
  }
  CHECK(digests["/opt/x"] == Json::array({std::string(64, '1')}));
  CHECK_FALSE(digests.contains("/bin/ls"));
  CHECK_FALSE(digests.contains("/var/log/x"));
  CHECK_FALSE(digests.contains("boot_aggregate"));
  CHECK(digests.size() >= before["digests"].size());
  CHECK(policy["excludes"].size() == before["excludes"].size() + 1);
  // It can be used.
  Spill(f / "policy.json", result.out);
  CHECK(Tenant({"policy", "show", f / "policy.json", "--path", "/early"})
            .exit_code == 0);
}

TEST_CASE("policy create: what a machine measured passes its own policy") {
  const Files f;
  const std::string out = f / "policy.json";
  const CommandResult result =
      Create({"-m", QuotedList(), "-o", out, "--json"});
  CAPTURE(result);
  REQUIRE(result.exit_code == 0);
  CHECK(Json::parse(result.out)["paths"] > 50);
  const Arguments appraise = {"appraise",
                              "--ima-list",
                              QuotedList(),
                              "--policy",
                              out,
                              "--pcrs",
                              VectorPath("ima/quote/pcrs.json")};
  CHECK(Tenant(appraise).exit_code == 0);
  // And no longer once one of its files is another.
  Json policy = Json::parse(TextOf(out));
  auto& first = policy["digests"].begin().value();
  first = Json::array({std::string(64, '0')});
  Spill(out, policy.dump());
  CHECK(Tenant(appraise).exit_code == 1);
}

TEST_CASE("policy create: measured buffers where they are asked for") {
  const std::string list =
      VectorPath("ima/custom-policy-keys/binary_runtime_measurements");
  const CommandResult without = Create({"--ima-list", list});
  REQUIRE(without.exit_code == 0);
  CHECK(Json::parse(without.out)["ima-buf"].empty());
  CHECK(absl::StrContains(without.err, "measured buffer"));
  const CommandResult with = Create({"--ima-list", list, "--buffers"});
  REQUIRE(with.exit_code == 0);
  CHECK_FALSE(Json::parse(with.out)["ima-buf"].empty());
  CHECK_FALSE(absl::StrContains(with.err, "measured buffer"));
}

TEST_CASE("policy create: the same files give the same bytes") {
  const Files f;
  const Arguments arguments = {"--rootfs", f / "root", "--initramfs",
                               f / "initrd"};
  const std::string first = Create(arguments).out;
  CHECK_FALSE(first.empty());
  CHECK(Create(arguments).out == first);
}

TEST_CASE("policy create: what stands in the base policy stays") {
  const Files f;
  Spill(f / "base.json", absl::StrCat(R"({
    "meta": {"version": 1, "generator": 3}, "release": 4,
    "digests": {"/a": [")",
                                      std::string(64, 'a'), R"("]},
    "excludes": ["/b/.*"],
    "keyrings": {".ima": [")",
                                      std::string(64, 'c'), R"("]},
    "ima": {"ignored_keyrings": ["*"], "log_hash_alg": "sha256",
            "dm_policy": null},
    "ima-buf": {"dm": [")",
                                      std::string(64, 'd'), R"("]},
    "verification-keys": "",
    "deny": {"digests": [{"digest": ")",
                                      std::string(64, 'e'), R"("}]}})"));
  const CommandResult result =
      Create({"--base-policy", f / "base.json", "--rootfs", f / "root"});
  CAPTURE(result);
  REQUIRE(result.exit_code == 0);
  const Json policy = Json::parse(result.out);
  CHECK(policy["digests"].size() == 3);
  CHECK(policy["release"] == 4);
  CHECK(policy["excludes"] == Json::array({"/b/.*"}));
  CHECK(policy["keyrings"].size() == 1);
  CHECK(policy["ima"]["ignored_keyrings"] == Json::array({"*"}));
  CHECK(policy["ima"]["log_hash_alg"] == "sha256");
  CHECK(policy["ima-buf"].size() == 1);
  CHECK(policy["deny"]["digests"].size() == 1);
}

TEST_CASE("policy create: the images of a folder") {
  const Files f;
  const CommandResult result = Create({"--ramdisk-dir", f.folder.path()});
  CHECK(Json::parse(result.out)["digests"].contains("/early"));
  CHECK_THAT(Create({"--ramdisk-dir", f / "root"}), IsRefused("initr"));
}

TEST_CASE("policy create: by another algorithm") {
  const Files f;
  const Json policy =
      Json::parse(Create({"--rootfs", f / "root", "--algo", "sha512"}).out);
  CHECK(policy["digests"]["/usr/bin/ls"][0].get<std::string>().size() == 128);
  CHECK_THAT(Create({"--rootfs", f / "root", "--algo", "md5"}),
             IsRefused("the algorithm is"));
}

TEST_CASE(
    "policy create: what makes no sense is refused, and nothing written") {
  const Files f;
  const std::string out = f / "out.json";
  Spill(out, "old");
  const auto refused = [&](const Arguments& arguments, const char* text) {
    CHECK_THAT(Create(arguments + Arguments{"-o", out}), IsRefused(text));
    CHECK(TextOf(out) == "old");
  };
  refused({}, "--rootfs DIR");
  refused({"--exclude", f / "exclude"}, "--rootfs DIR");
  refused({"--rootfs", "/no/such"}, "/no/such");
  refused({"--initramfs", f / "exclude"}, "neither a cpio archive");
  refused({"--ima-list", f / "exclude"}, "exclude");
  refused({"--allowlist", "-", "--ima-list", "-"}, "standard input");
  refused({"--rootfs", f / "root", "--buffers"}, "give --ima-list FILE");
  Spill(f / "bad", "(\n");
  refused({"--rootfs", f / "root", "--exclude", f / "bad"}, "bad:1");
  CHECK_THAT(Create({"--rootfs", f / "root", "--json"}),
             IsRefused("give -o FILE"));
}

}  // namespace
}  // namespace cupel::testing
