#include "verifier/pki/pki.h"

#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <map>
#include <string>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "tests/support/run_command.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/text_of.h"
#include "verifier/pki/tls_credentials.h"

namespace cupel::verifier {
namespace {

namespace fs = std::filesystem;

using absl::StatusCode;
using testing::CommandResult;
using testing::IsOk;
using testing::RunCommand;
using testing::StatusIs;
using testing::StatusOf;
using testing::TextOf;

mode_t ModeOf(const std::string& path) {
  struct stat info = {};
  REQUIRE(stat(path.c_str(), &info) == 0);
  return info.st_mode & 07777;
}

uid_t OwnerOf(const std::string& path) {
  struct stat info = {};
  REQUIRE(stat(path.c_str(), &info) == 0);
  return info.st_uid;
}

// A PKI in a folder of the test's own.
class PkiTest {
 public:
  PkiTest() { REQUIRE_THAT(InitPki(options(), absl::Now()), IsOk()); }

  InitOptions options() const {
    return {.dir = dir(),
            .dns_names = {"localhost", "verifier.example"},
            .addresses = {"127.0.0.1", "::1"},
            .tenant = "acme",
            .role = OperatorRole::kAdmin};
  }
  std::string dir() const { return folder_ / "etc/pki"; }
  std::string operator/(const std::string& name) const {
    return absl::StrCat(dir(), "/", name);
  }
  // What a file of each name holds.
  std::map<std::string, std::string> Content() const {
    std::map<std::string, std::string> content;
    for (const auto& entry : fs::recursive_directory_iterator(dir())) {
      if (entry.is_regular_file()) {
        content[entry.path().string()] = TextOf(entry.path().string());
      }
    }
    return content;
  }

  // Whether the openssl command takes `leaf` for `purpose` under `ca`.
  bool Verifies(const std::string& ca, const std::string& purpose,
                const std::string& leaf,
                std::vector<std::string> more = {}) const {
    std::vector<std::string> arguments = {
        "openssl", "verify",   "-x509_strict", "-no-CApath", "-no-CAstore",
        "-CAfile", *this / ca, "-purpose",     purpose};
    arguments.insert(arguments.end(), more.begin(), more.end());
    arguments.push_back(*this / leaf);
    const auto result = RunCommand(arguments);
    REQUIRE_THAT(StatusOf(result), IsOk());
    INFO(result->out << result->err);
    CHECK((result->exit_code == 0 || result->exit_code == 2));
    return result->exit_code == 0;
  }

 private:
  testing::TemporaryFolder folder_;
};

constexpr char kCa[] = "ca/certificate.pem";
constexpr char kClientCa[] = "client-ca/certificate.pem";
constexpr char kServer[] = "server/certificate.pem";
constexpr char kOperator[] = "operator/certificate.pem";

TEST_CASE("openssl verify takes each certificate for its purpose alone [A41]") {
  const PkiTest pki;
  CHECK(pki.Verifies(kCa, "sslserver", kServer));
  CHECK_FALSE(pki.Verifies(kCa, "sslclient", kServer));
  CHECK_FALSE(pki.Verifies(kClientCa, "sslserver", kServer));
  CHECK_FALSE(pki.Verifies(kClientCa, "sslclient", kServer));

  CHECK(pki.Verifies(kClientCa, "sslclient", kOperator));
  CHECK_FALSE(pki.Verifies(kClientCa, "sslserver", kOperator));
  CHECK_FALSE(pki.Verifies(kCa, "sslclient", kOperator));
  CHECK_FALSE(pki.Verifies(kCa, "sslserver", kOperator));

  CHECK(pki.Verifies("operator/ca.pem", "sslserver", kServer));
  CHECK(TextOf(pki / "operator/ca.pem") == TextOf(pki / kCa));
}

TEST_CASE("The server's certificate is good for the names given, no others") {
  const PkiTest pki;
  const auto fits = [&pki](const std::string& option, const std::string& name) {
    return pki.Verifies(kCa, "sslserver", kServer, {option, name});
  };
  CHECK(fits("-verify_hostname", "localhost"));
  CHECK(fits("-verify_hostname", "verifier.example"));
  CHECK(fits("-verify_ip", "127.0.0.1"));
  CHECK(fits("-verify_ip", "::1"));
  CHECK_FALSE(fits("-verify_hostname", "other.example"));
  CHECK_FALSE(fits("-verify_hostname", "cupel verifier"));
  CHECK_FALSE(fits("-verify_ip", "127.0.0.2"));
}

TEST_CASE("The operator's certificate carries its identity [A41]") {
  const PkiTest pki;
  const auto identity = OperatorIdentityFromPem(TextOf(pki / kOperator));
  REQUIRE_THAT(StatusOf(identity), IsOk());
  CHECK(identity->tenant == "acme");
  CHECK(identity->role == OperatorRole::kAdmin);
  for (const char* other : {kServer, kCa, kClientCa}) {
    CHECK_THAT(StatusOf(OperatorIdentityFromPem(TextOf(pki / other))),
               StatusIs(StatusCode::kPermissionDenied));
  }
}

TEST_CASE("The SPKI's digest is the one that the openssl command computes") {
  const PkiTest pki;
  const auto result = RunCommand(
      {"sh", "-c",
       absl::StrCat("openssl x509 -noout -pubkey -in ", pki / kOperator,
                    " | openssl pkey -pubin -outform DER | sha256sum")});
  REQUIRE_THAT(StatusOf(result), IsOk());
  CHECK(OperatorIdentityFromPem(TextOf(pki / kOperator))->spki_sha256 ==
        result->out.substr(0, 64));
}

TEST_CASE("Folders are 0700, keys 0600, certificates 0644") {
  for (const mode_t mask : {022u, 077u, 0u}) {
    CAPTURE(mask);
    const mode_t before = umask(mask);
    const PkiTest pki;
    umask(before);
    CHECK(ModeOf(pki.dir()) == 0700);
    int files = 0;
    for (const auto& entry : fs::recursive_directory_iterator(pki.dir())) {
      const std::string path = entry.path().string();
      CAPTURE(path);
      if (entry.is_directory()) {
        CHECK(ModeOf(path) == 0700);
        continue;
      }
      ++files;
      const bool is_key = absl::EndsWith(path, "key.pem");
      CHECK(ModeOf(path) == (is_key ? 0600 : 0644));
      CHECK(absl::StrContains(TextOf(path), "PRIVATE KEY") == is_key);
    }
    CHECK(files == 9);
  }
}

TEST_CASE(
    "What the verifier needs belongs to its user, and no more than that") {
  const bool is_root = geteuid() == 0;
  const passwd* const user = is_root ? getpwnam("nobody") : getpwuid(geteuid());
  REQUIRE(user != nullptr);
  const PkiTest made_before;
  InitOptions options = made_before.options();
  const testing::TemporaryFolder folder;
  options.dir = folder / "pki";
  options.service_user = user->pw_name;
  const mode_t before = umask(077);
  REQUIRE_THAT(InitPki(options, absl::Now()), IsOk());
  umask(before);

  for (const auto& entry : fs::recursive_directory_iterator(options.dir)) {
    const std::string path = entry.path().string();
    CAPTURE(path);
    const std::string name = path.substr(options.dir.size() + 1);
    const bool is_servers = absl::StartsWith(name, "server");
    CHECK(OwnerOf(path) == (is_servers ? user->pw_uid : geteuid()));
    if (entry.is_directory()) {
      CHECK(ModeOf(path) == (name == "client-ca" ? 0711 : 0700));
    } else {
      CHECK(ModeOf(path) == (absl::EndsWith(path, "key.pem") ? 0600 : 0644));
    }
  }
  CHECK(ModeOf(options.dir) == 0711);
  CHECK(OwnerOf(options.dir) == geteuid());

  REQUIRE_THAT(StatusOf(RenewPki(options.dir, absl::Now())), IsOk());
  CHECK(OwnerOf(options.dir + "/server") == user->pw_uid);
  CHECK(OwnerOf(options.dir + "/server/key.pem") == user->pw_uid);

  options.dir = folder / "other";
  options.service_user = "no-such-user-here";
  CHECK_THAT(InitPki(options, absl::Now()),
             StatusIs(StatusCode::kInvalidArgument, "no-such-user-here"));
  CHECK_FALSE(fs::exists(options.dir));
}

TEST_CASE("init never overwrites and leaves nothing behind") {
  const PkiTest pki;
  const auto before = pki.Content();
  CHECK_THAT(InitPki(pki.options(), absl::Now()),
             StatusIs(StatusCode::kAlreadyExists, "renew"));
  CHECK(pki.Content() == before);

  const testing::TemporaryFolder folder;
  InitOptions options = pki.options();
  options.dir = folder / "x";
  REQUIRE_THAT(WriteFile(options.dir, "mine"), IsOk());
  CHECK_THAT(InitPki(options, absl::Now()),
             StatusIs(StatusCode::kAlreadyExists, options.dir));
  CHECK(TextOf(options.dir) == "mine");

  options.dir = folder / "link";
  fs::create_symlink(folder / "nowhere", options.dir);
  CHECK_THAT(InitPki(options, absl::Now()),
             StatusIs(StatusCode::kAlreadyExists, options.dir));

  options.dir = folder / "full";
  fs::create_directory(options.dir);
  REQUIRE_THAT(WriteFile(options.dir + "/a", "mine"), IsOk());
  CHECK_THAT(InitPki(options, absl::Now()),
             StatusIs(StatusCode::kAlreadyExists, options.dir));
  CHECK(folder.CountFiles() == 3);

  options.dir = folder / "empty/";
  fs::create_directory(options.dir);
  CHECK_THAT(InitPki(options, absl::Now()), IsOk());
  CHECK(folder.CountFiles() == 4);
}

TEST_CASE("init refuses names that are not well-formed, and makes nothing") {
  const testing::TemporaryFolder folder;
  InitOptions options = {.dir = folder / "pki", .dns_names = {"localhost"}};
  const auto refused = [&](InitOptions changed, const std::string& why) {
    CHECK_THAT(InitPki(changed, absl::Now()),
               StatusIs(StatusCode::kInvalidArgument, why));
    CHECK(folder.CountFiles() == 0);
  };
  InitOptions changed = options;
  changed.dns_names.clear();
  refused(changed, "no DNS name and no address");
  changed = options;
  changed.dns_names = {"a b"};
  refused(changed, "no DNS name");
  changed = options;
  changed.addresses = {"localhost"};
  refused(changed, "no IPv4 or IPv6");
  changed = options;
  changed.tenant = "a/role/admin";
  refused(changed, "no tenant's name");
  CHECK_THAT(InitPki(options, absl::Now()), IsOk());
}

TEST_CASE("renew makes new keys and certificates of the same names") {
  const PkiTest pki;
  REQUIRE_THAT(IssueOperator(pki.dir(), "bob", "acme", OperatorRole::kViewer,
                             absl::Now()),
               IsOk());
  const auto before = pki.Content();
  // What an interrupted run would have left is no operator.
  fs::create_directory(pki / "server.Ab12Cd");
  const auto renewed = RenewPki(pki.dir(), absl::Now());
  REQUIRE_THAT(StatusOf(renewed), IsOk());
  CHECK(renewed->size() == 3);
  CHECK(renewed->front().folder == pki / "server");
  fs::remove(pki / "server.Ab12Cd");

  const auto after = pki.Content();
  REQUIRE(after.size() == before.size());
  for (const auto& [path, content] : before) {
    CAPTURE(path);
    const bool is_ca =
        absl::StrContains(path, "ca/") || absl::EndsWith(path, "/ca.pem");
    CHECK((after.at(path) == content) == is_ca);
    CHECK(ModeOf(path) == (absl::EndsWith(path, "key.pem") ? 0600 : 0644));
  }
  CHECK(ModeOf(pki / "server") == 0700);
  CHECK(pki.Verifies(kCa, "sslserver", kServer,
                     {"-verify_hostname", "verifier.example"}));
  CHECK(pki.Verifies(kCa, "sslserver", kServer, {"-verify_ip", "::1"}));
  CHECK(pki.Verifies(kClientCa, "sslclient", kOperator));
  const auto bob = OperatorIdentityFromPem(TextOf(pki / "bob/certificate.pem"));
  REQUIRE_THAT(StatusOf(bob), IsOk());
  CHECK(bob->role == OperatorRole::kViewer);
  CHECK_THAT(
      StatusOf(LoadTlsCredentials(pki / kServer, pki / "server/key.pem")),
      IsOk());
}

TEST_CASE("renew keeps owners, so that the verifier can still read its key") {
  const PkiTest pki;
  if (geteuid() != 0) return;  // nobody else can give files away
  REQUIRE(chown((pki / "server/certificate.pem").c_str(), 12, 34) == 0);
  REQUIRE_THAT(StatusOf(RenewPki(pki.dir(), absl::Now())), IsOk());
  for (const char* path : {"server", "server/key.pem", kServer}) {
    CAPTURE(path);
    struct stat info = {};
    REQUIRE(stat((pki / path).c_str(), &info) == 0);
    CHECK(info.st_uid == 12);
    CHECK(info.st_gid == 34);
  }
}

TEST_CASE("renew needs a PKI whose CAs have not expired") {
  const testing::TemporaryFolder folder;
  CHECK_THAT(StatusOf(RenewPki(folder.path(), absl::Now())),
             StatusIs(StatusCode::kNotFound, "run init first"));
  const PkiTest pki;
  const auto before = pki.Content();
  CHECK_THAT(
      StatusOf(RenewPki(pki.dir(), absl::Now() + absl::Hours(24 * 3651))),
      StatusIs(StatusCode::kFailedPrecondition, "expired"));
  REQUIRE_THAT(WriteFile(pki / "client-ca/key.pem", TextOf(pki / "ca/key.pem")),
               IsOk());
  CHECK_THAT(StatusOf(RenewPki(pki.dir(), absl::Now())),
             StatusIs(StatusCode::kInvalidArgument, "belong together"));
  for (const char* path : {kServer, kOperator}) {
    CHECK(TextOf(pki / path) == before.at(pki / path));
  }
}

TEST_CASE("renew makes no operator of another certificate [A41]") {
  const PkiTest pki;
  REQUIRE_THAT(WriteFile(pki / kOperator, TextOf(pki / kServer)), IsOk());
  CHECK_THAT(StatusOf(RenewPki(pki.dir(), absl::Now())),
             StatusIs(StatusCode::kPermissionDenied, pki / "operator"));
}

TEST_CASE("Who reads during renewals always finds a pair") {
  const PkiTest pki;
  std::atomic<bool> done = false;
  std::atomic<int> failed = 0;
  std::atomic<int> loaded = 0;
  std::jthread reader([&] {
    while (!done) {
      const auto credentials =
          LoadTlsCredentials(pki / kServer, pki / "server/key.pem");
      if (!credentials.ok()) ++failed;
      ++loaded;
    }
  });
  for (int i = 0; i < 20; ++i) {
    CHECK_THAT(StatusOf(RenewPki(pki.dir(), absl::Now())), IsOk());
  }
  done = true;
  reader.join();
  CHECK(loaded > 0);
  CHECK(failed == 0);
}

TEST_CASE("A further operator never replaces what is there") {
  const PkiTest pki;
  const auto issue = [&pki](const std::string& name,
                            const std::string& tenant) {
    return IssueOperator(pki.dir(), name, tenant, OperatorRole::kViewer,
                         absl::Now());
  };
  CHECK_THAT(issue("bob", "other"), IsOk());
  CHECK(OperatorIdentityFromPem(TextOf(pki / "bob/certificate.pem"))->tenant ==
        "other");
  CHECK(pki.Verifies(kClientCa, "sslclient", "bob/certificate.pem"));
  const auto before = pki.Content();
  CHECK_THAT(issue("bob", "other"),
             StatusIs(StatusCode::kAlreadyExists, "bob"));
  for (const char* name :
       {"server", "ca", "client-ca", "", ".", "..", "a/b", "../x", "a.b"}) {
    CAPTURE(name);
    CHECK_THAT(issue(name, "other"), StatusIs(StatusCode::kInvalidArgument));
  }
  CHECK_THAT(issue("eve", "a/../b"), StatusIs(StatusCode::kInvalidArgument));
  CHECK(pki.Content() == before);
}

TEST_CASE("A key that doesn't fit, or is open to all, is not served") {
  const PkiTest pki;
  const auto credentials =
      LoadTlsCredentials(pki / kServer, pki / "server/key.pem");
  REQUIRE_THAT(StatusOf(credentials), IsOk());
  CHECK(credentials->certificate_pem == TextOf(pki / kServer));
  CHECK(credentials->key_pem == TextOf(pki / "server/key.pem"));
  CHECK_FALSE(credentials->certificate_sha256.IsZero());
  CHECK(credentials->not_after > absl::Now());
  CHECK_THAT(StatusOf(LoadTlsCredentials(pki / kServer, pki / "ca/key.pem")),
             StatusIs(StatusCode::kFailedPrecondition, "is not the key of"));
  CHECK_THAT(StatusOf(LoadTlsCredentials(pki / kServer, pki / "gone")),
             StatusIs(StatusCode::kNotFound, pki / "gone"));
  CHECK_THAT(StatusOf(LoadTlsCredentials(pki / "server/key.pem",
                                         pki / "server/key.pem")),
             StatusIs(StatusCode::kInvalidArgument, "no certificate"));
  fs::permissions(pki / "server/key.pem", fs::perms(0604));
  CHECK_THAT(
      StatusOf(LoadTlsCredentials(pki / kServer, pki / "server/key.pem")),
      StatusIs(StatusCode::kFailedPrecondition, "every user"));
}

}  // namespace
}  // namespace cupel::verifier
