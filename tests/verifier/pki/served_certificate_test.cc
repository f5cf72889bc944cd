#include "verifier/pki/served_certificate.h"

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/text_of.h"
#include "verifier/pki/pki.h"

namespace cupel::verifier {
namespace {

namespace fs = std::filesystem;

using absl::StatusCode;
using crypto::Digest;
using testing::IsOk;
using testing::StatusIs;
using testing::StatusOf;
using testing::TextOf;
using When = ServedCertificate::When;

// A PKI in a folder of the test's own, and what a listener serves of it.
class ServedTest {
 public:
  ServedTest() {
    REQUIRE_THAT(
        InitPki({.dir = dir(), .dns_names = {"localhost"}}, absl::Now()),
        IsOk());
    auto loaded = Load();
    REQUIRE_THAT(StatusOf(loaded), IsOk());
    served = *std::move(loaded);
  }

  std::string dir() const { return folder_ / "pki"; }
  std::string certificate() const { return dir() + "/server/certificate.pem"; }
  std::string key() const { return dir() + "/server/key.pem"; }
  absl::StatusOr<std::unique_ptr<ServedCertificate>> Load() const {
    return ServedCertificate::Load({.certificate_path = certificate(),
                                    .key_path = key(),
                                    .longest_connection = absl::Minutes(10)},
                                   absl::Now());
  }
  void Renew(const Lifetimes& lifetimes = {}) const {
    REQUIRE_THAT(StatusOf(RenewPki(dir(), absl::Now(), lifetimes)), IsOk());
  }
  void Write(const std::string& path, absl::string_view text) const {
    REQUIRE_THAT(WriteFile(path, text), IsOk());
    fs::permissions(path, fs::perms(0600));
  }
  absl::StatusOr<bool> Look() const {
    return served->Reload(When::kChanged, now, absl::Now());
  }
  Digest Current() const { return served->current()->certificate_sha256; }

  std::unique_ptr<ServedCertificate> served;
  absl::Time now = absl::FromUnixSeconds(1000);

 private:
  testing::TemporaryFolder folder_;
};

TEST_CASE("A renewed pair is served once its files have come to rest") {
  ServedTest test;
  const Digest first = test.Current();
  CHECK_FALSE(*test.Look());
  test.Renew();
  CHECK_FALSE(*test.Look());  // it might still be written to
  CHECK(test.Current() == first);
  CHECK(*test.Look());
  const Digest second = test.Current();
  CHECK_FALSE(second == first);
  CHECK_FALSE(*test.Look());
  CHECK(test.Current() == second);
  // Whoever asks for it doesn't wait.
  test.Renew();
  const auto asked = test.served->Reload(When::kAlways, test.now, absl::Now());
  CHECK(*asked);
  CHECK_FALSE(test.Current() == second);
}

TEST_CASE("What is written anew and the same is no other certificate") {
  ServedTest test;
  const Digest first = test.Current();
  test.Write(test.key(), TextOf(test.key()));
  for (int i = 0; i < 3; ++i) CHECK_FALSE(*test.Look());
  CHECK(test.Current() == first);
}

TEST_CASE("A replaced certificate is accepted while a connection may show it") {
  ServedTest test;
  const Digest first = test.Current();
  CHECK(test.served->Accepted(test.now) == std::vector<Digest>{first});
  test.Renew();
  CHECK_FALSE(*test.Look());
  CHECK(*test.Look());
  const Digest second = test.Current();
  test.now += absl::Minutes(10);
  CHECK(test.served->Accepted(test.now) == std::vector<Digest>{second, first});
  test.now += absl::Seconds(1);
  CHECK(test.served->Accepted(test.now) == std::vector<Digest>{second});
}

TEST_CASE("What can't be served is told once, and the old pair stays") {
  ServedTest test;
  const Digest first = test.Current();
  const std::string certificate = TextOf(test.certificate());
  StatusCode code = StatusCode::kInvalidArgument;
  std::string words;
  SECTION("a certificate that is none") {
    test.Write(test.certificate(), "no PEM");
    words = test.certificate();
  }
  SECTION("one that breaks off") {
    test.Write(test.certificate(), certificate.substr(0, 300));
    words = test.certificate();
  }
  SECTION("an issuer that breaks off behind it") {
    test.Write(test.certificate(), certificate + certificate.substr(0, 300));
    words = test.certificate();
  }
  SECTION("another certificate's key") {
    test.Write(test.key(), TextOf(test.dir() + "/ca/key.pem"));
    code = StatusCode::kFailedPrecondition;
    words = "is not the key of";
  }
  SECTION("a key that everybody can read") {
    fs::permissions(test.key(), fs::perms(0644));
    code = StatusCode::kFailedPrecondition;
    words = "open to every user";
  }
  SECTION("none at all") {
    fs::remove(test.certificate());
    code = StatusCode::kNotFound;
    words = test.certificate();
  }
  SECTION("one that has expired") {
    test.Renew({.leaf = -absl::Minutes(1)});
    code = StatusCode::kFailedPrecondition;
    words = "has expired on";
  }
  CHECK_FALSE(*test.Look());
  CHECK_FALSE(test.served->is_stale());
  CHECK_THAT(StatusOf(test.Look()), StatusIs(code, words));
  CHECK(test.served->is_stale());
  CHECK(test.Current() == first);
  CHECK(test.served->Accepted(test.now) == std::vector<Digest>{first});
  for (int i = 0; i < 3; ++i) CHECK_FALSE(*test.Look());
  // It is not forgotten, nor told to nobody who asks.
  test.now += ServedCertificate::kRemind;
  CHECK_THAT(StatusOf(test.Look()), StatusIs(code, words));
  CHECK_FALSE(*test.Look());
  CHECK_THAT(
      StatusOf(test.served->Reload(When::kAlways, test.now, absl::Now())),
      StatusIs(code, words));
  CHECK(test.Current() == first);
  // And what is mended is served.
  test.Write(test.certificate(), certificate);
  fs::permissions(test.key(), fs::perms(0600));
  test.Renew();
  CHECK_FALSE(*test.Look());
  CHECK(*test.Look());
  CHECK_FALSE(test.served->is_stale());
  CHECK_FALSE(test.Current() == first);
}

TEST_CASE("Nothing is served from the start that can't be") {
  ServedTest test;
  SECTION("one that has expired") {
    test.Renew({.leaf = -absl::Minutes(1)});
    CHECK_THAT(StatusOf(test.Load()),
               StatusIs(StatusCode::kFailedPrecondition,
                        "`cupel-verifier renew` makes a new one"));
  }
  SECTION("one that isn't valid yet") {
    REQUIRE_THAT(StatusOf(RenewPki(test.dir(), absl::Now() + absl::Hours(1))),
                 IsOk());
    CHECK_THAT(StatusOf(test.Load()),
               StatusIs(StatusCode::kFailedPrecondition, "clock"));
  }
  SECTION("none") {
    fs::remove(test.key());
    CHECK_THAT(StatusOf(test.Load()),
               StatusIs(StatusCode::kNotFound, test.key()));
  }
}

}  // namespace
}  // namespace cupel::verifier
