#include "verifier/pki/pki.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/util/bytes.h"
#include "common/util/errno_status.h"
#include "common/util/escape.h"
#include "common/util/file.h"
#include "common/util/secret.h"
#include "common/util/status_context.h"
#include "common/util/status_macros.h"
#include "common/util/user.h"
#include "verifier/pki/certificate.h"
#include "verifier/pki/pem_files.h"

namespace cupel::verifier {
namespace {

namespace fs = std::filesystem;

constexpr char kCertificateFile[] = "certificate.pem";
constexpr char kKeyFile[] = "key.pem";
constexpr char kCaFile[] = "ca.pem";
constexpr char kCaFolder[] = "ca";
constexpr char kClientCaFolder[] = "client-ca";
constexpr char kServerFolder[] = "server";
constexpr char kOperatorFolder[] = "operator";
constexpr mode_t kFolderMode = 0700;
constexpr mode_t kPassableMode = 0711;
constexpr mode_t kKeyMode = 0600;
constexpr mode_t kCertificateMode = 0644;
// For clocks that are behind this one.
constexpr absl::Duration kClockSkew = absl::Minutes(5);

// Whom a file that replaces another one belongs to.
std::optional<User> OwnerOf(const std::string& path) {
  struct stat info = {};
  if (stat(path.c_str(), &info) != 0) return std::nullopt;
  return User{.uid = info.st_uid, .gid = info.st_gid};
}

absl::StatusOr<User> OwnerNamed(const std::string& user) {
  auto found = FindUser(user);
  if (!absl::IsNotFound(found.status())) return found;
  return absl::InvalidArgumentError(absl::StrCat(
      found.status().message(), "; systemd-sysusers makes those of services"));
}

// A new folder beside the place that it is meant for. It goes with this object,
// unless it was moved there.
class NewFolder {
 public:
  static absl::StatusOr<NewFolder> Create(const std::string& place) {
    std::string path = absl::StrCat(place, ".XXXXXX");
    if (mkdtemp(path.data()) == nullptr) return ErrnoStatus(errno, place);
    return NewFolder(path);  // mkdtemp gives it the mode 0700
  }
  NewFolder(NewFolder&& other) noexcept
      : path_(std::exchange(other.path_, std::string())) {}
  NewFolder& operator=(NewFolder&&) = delete;
  ~NewFolder() {
    if (path_.empty()) return;
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }

  std::string operator/(absl::string_view name) const {
    return absl::StrCat(path_, "/", name);
  }

  // Becomes `place`, which must be missing or an empty folder.
  absl::Status MoveTo(const std::string& place) {
    CUPEL_RETURN_IF_ERROR(SyncFolder(path_));
    if (std::rename(path_.c_str(), place.c_str()) != 0) {
      return ErrnoStatus(errno, place);
    }
    path_.clear();
    return SyncFolder(fs::path(place).parent_path().string());
  }

  // Becomes `place`, and what was there goes: in one step for who looks.
  absl::Status Replace(const std::string& place) {
    CUPEL_RETURN_IF_ERROR(SyncFolder(path_));
    if (renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, place.c_str(),
                  RENAME_EXCHANGE) != 0) {
      return ErrnoStatus(errno, place);
    }
    return SyncFolder(fs::path(place).parent_path().string());
  }

 private:
  explicit NewFolder(std::string path) : path_(std::move(path)) {}

  std::string path_;  // empty: moved away
};

// Makes the folder `path` with the pair's files, and the CA's where given.
absl::Status WritePair(const std::string& path, const KeyPair& pair,
                       const X509* ca, const std::optional<User>& owner) {
  CUPEL_ASSIGN_OR_RETURN(const std::string certificate,
                         CertificateToPem(*pair.certificate));
  CUPEL_ASSIGN_OR_RETURN(const Secret key, KeyToPem(*pair.key));
  CUPEL_RETURN_IF_ERROR(WriteFile(absl::StrCat(path, "/", kKeyFile),
                                  AsText(key.Reveal()),
                                  {.mode = kKeyMode, .owner = owner}));
  const FileRights readable = {.mode = kCertificateMode, .owner = owner};
  CUPEL_RETURN_IF_ERROR(WriteFile(absl::StrCat(path, "/", kCertificateFile),
                                  certificate, readable));
  if (ca != nullptr) {
    CUPEL_ASSIGN_OR_RETURN(const std::string ca_pem, CertificateToPem(*ca));
    CUPEL_RETURN_IF_ERROR(
        WriteFile(absl::StrCat(path, "/", kCaFile), ca_pem, readable));
  }
  if (owner && chown(path.c_str(), owner->uid, owner->gid) != 0) {
    return ErrnoStatus(errno, path);
  }
  return SyncFolder(path);
}

absl::Status MakePair(const std::string& path, const KeyPair& pair,
                      const X509* ca,
                      const std::optional<User>& owner = std::nullopt) {
  if (mkdir(path.c_str(), kFolderMode) != 0) return ErrnoStatus(errno, path);
  return WritePair(path, pair, ca, owner);
}

// Whatever the umask.
absl::Status MakePassable(const std::string& path) {
  if (chmod(path.c_str(), kPassableMode) != 0) return ErrnoStatus(errno, path);
  return absl::OkStatus();
}

absl::StatusOr<crypto::Owned<X509>> ReadCertificate(const std::string& path) {
  CUPEL_ASSIGN_OR_RETURN(const std::vector<uint8_t> pem,
                         ReadFile(path, kMaxPemFileSize));
  auto certificate = CertificateFromPem(AsText(pem));
  if (!certificate.ok()) {
    return WithContext(certificate.status(), EscapeForDisplay(path));
  }
  return certificate;
}

absl::StatusOr<KeyPair> ReadCa(const std::string& dir, const char* folder) {
  const std::string path = absl::StrCat(dir, "/", folder);
  KeyPair ca;
  auto certificate = ReadCertificate(absl::StrCat(path, "/", kCertificateFile));
  if (absl::IsNotFound(certificate.status())) {
    return WithContext(certificate.status(),
                       "there is no CA here; run init first");
  }
  if (!certificate.ok()) return certificate.status();
  ca.certificate = *std::move(certificate);
  const std::string key_path = absl::StrCat(path, "/", kKeyFile);
  CUPEL_ASSIGN_OR_RETURN(std::vector<uint8_t> pem,
                         ReadFile(key_path, kMaxPemFileSize));
  const Secret secret(pem);
  std::ranges::fill(pem, uint8_t{0});
  auto key = KeyFromPem(AsText(secret.Reveal()));
  if (!key.ok()) return WithContext(key.status(), EscapeForDisplay(key_path));
  ca.key = *std::move(key);
  if (X509_check_private_key(ca.certificate.get(), ca.key.get()) != 1) {
    (void)crypto::OpensslError("");  // empties the queue
    return absl::InvalidArgumentError(
        absl::StrCat(EscapeForDisplay(path),
                     ": key and certificate don't "
                     "belong together"));
  }
  return ca;
}

LeafNames OperatorNames(absl::string_view tenant, OperatorRole role) {
  return {.common_name =
              absl::StrCat("cupel ", OperatorRoleName(role), " of ", tenant),
          .dns_names = {},
          .addresses = {},
          .uri = OperatorUri(tenant, role)};
}

Validity For(absl::Duration lifetime, absl::Time now) {
  return {.not_before = now - kClockSkew, .not_after = now + lifetime};
}

absl::Status ValidateOperatorName(const std::string& name) {
  const bool is_word =
      !name.empty() && name.size() <= 64 &&
      std::ranges::all_of(name, [](char c) {
        return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' ||
               c == '_';
      });
  if (!is_word || name == kCaFolder || name == kClientCaFolder ||
      name == kServerFolder) {
    return absl::InvalidArgumentError(
        absl::StrCat(Quoted(name, 80),
                     " can't name an operator's folder: letters, digits, "
                     "'-' and '_', and not ca, client-ca or server"));
  }
  return absl::OkStatus();
}

// kAlreadyExists unless `path` is missing or an empty folder.
absl::Status CheckFree(const std::string& path, absl::string_view cure) {
  std::error_code error;
  const bool is_there = fs::exists(fs::symlink_status(path, error));
  if (!is_there) return absl::OkStatus();
  if (fs::is_directory(fs::symlink_status(path, error)) &&
      fs::is_empty(path, error) && !error) {
    return absl::OkStatus();
  }
  return absl::AlreadyExistsError(absl::StrCat(
      EscapeForDisplay(path), " is there already and stays as it is; ", cure));
}

// Makes anew the leaf in `path`. `ca` is null but for an operator's.
absl::StatusOr<Renewed> RenewLeaf(const std::string& path,
                                  const KeyPair& issuer, CertificateUse use,
                                  const X509* ca, absl::Time now,
                                  const Lifetimes& lifetimes) {
  const std::string old_path = absl::StrCat(path, "/", kCertificateFile);
  CUPEL_ASSIGN_OR_RETURN(const crypto::Owned<X509> old,
                         ReadCertificate(old_path));
  if (use == CertificateUse::kClient) {
    CUPEL_ASSIGN_OR_RETURN(const std::string pem, CertificateToPem(*old));
    CUPEL_RETURN_IF_ERROR(OperatorIdentityFromPem(pem).status());
  }
  CUPEL_ASSIGN_OR_RETURN(const LeafNames names, ReadNames(*old));
  CUPEL_ASSIGN_OR_RETURN(
      const KeyPair leaf,
      MakeLeaf(issuer, use, names, For(lifetimes.leaf, now)));
  CUPEL_ASSIGN_OR_RETURN(NewFolder folder, NewFolder::Create(path));
  CUPEL_RETURN_IF_ERROR(WritePair(folder / ".", leaf, ca, OwnerOf(old_path)));
  CUPEL_RETURN_IF_ERROR(folder.Replace(path));
  Renewed renewed = {.folder = path, .not_after = {}};
  CUPEL_ASSIGN_OR_RETURN(renewed.not_after, NotAfter(*leaf.certificate));
  return renewed;
}

// The folders in `dir` that hold a leaf, the server's first.
absl::StatusOr<std::vector<std::string>> LeafFolders(const std::string& dir) {
  std::vector<std::string> names;
  std::error_code error;
  fs::directory_iterator entry(dir, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    // What an interrupted run left has a dot in its name.
    if (ValidateOperatorName(name).ok() && entry->is_directory(error)) {
      names.push_back(name);
    }
  }
  if (error) {
    return absl::UnavailableError(
        absl::StrCat(EscapeForDisplay(dir), ": ", error.message()));
  }
  std::ranges::sort(names);
  names.insert(names.begin(), kServerFolder);
  return names;
}

}  // namespace

absl::Status InitPki(const InitOptions& options, absl::Time now) {
  if (options.dns_names.empty() && options.addresses.empty()) {
    return absl::InvalidArgumentError(
        "no DNS name and no address for the server's certificate: give those "
        "that agents and operators use");
  }
  CUPEL_RETURN_IF_ERROR(ValidateTenantName(options.tenant));
  std::optional<User> service;
  if (!options.service_user.empty()) {
    CUPEL_ASSIGN_OR_RETURN(service, OwnerNamed(options.service_user));
  }
  std::error_code error;
  const std::string dir =
      (fs::absolute(options.dir, error) / "").parent_path().string();
  CUPEL_RETURN_IF_ERROR(CheckFree(
      dir,
      "`renew` makes new certificates from its CAs, and to begin anew move it "
      "away first"));

  const Validity ca_validity = For(options.lifetimes.ca, now);
  const Validity leaf_validity = For(options.lifetimes.leaf, now);
  CUPEL_ASSIGN_OR_RETURN(
      const KeyPair ca,
      MakeCa("cupel CA of servers", CertificateUse::kServer, ca_validity));
  CUPEL_ASSIGN_OR_RETURN(
      const KeyPair client_ca,
      MakeCa("cupel CA of operators", CertificateUse::kClient, ca_validity));
  CUPEL_ASSIGN_OR_RETURN(const KeyPair server,
                         MakeLeaf(ca, CertificateUse::kServer,
                                  {.common_name = "cupel verifier",
                                   .dns_names = options.dns_names,
                                   .addresses = options.addresses,
                                   .uri = {}},
                                  leaf_validity));
  CUPEL_ASSIGN_OR_RETURN(
      const KeyPair client,
      MakeLeaf(client_ca, CertificateUse::kClient,
               OperatorNames(options.tenant, options.role), leaf_validity));

  fs::create_directories(fs::path(dir).parent_path(), error);
  if (error) return ErrnoStatus(error.value(), dir);
  CUPEL_ASSIGN_OR_RETURN(NewFolder folder, NewFolder::Create(dir));
  CUPEL_RETURN_IF_ERROR(MakePair(folder / kCaFolder, ca, nullptr));
  CUPEL_RETURN_IF_ERROR(MakePair(folder / kClientCaFolder, client_ca, nullptr));
  CUPEL_RETURN_IF_ERROR(
      MakePair(folder / kServerFolder, server, nullptr, service));
  CUPEL_RETURN_IF_ERROR(
      MakePair(folder / kOperatorFolder, client, ca.certificate.get()));
  if (service) {
    CUPEL_RETURN_IF_ERROR(MakePassable(folder / kClientCaFolder));
    CUPEL_RETURN_IF_ERROR(MakePassable(folder / "."));
  }
  return folder.MoveTo(dir);
}

absl::Status IssueOperator(const std::string& dir, const std::string& name,
                           absl::string_view tenant, OperatorRole role,
                           absl::Time now, const Lifetimes& lifetimes) {
  CUPEL_RETURN_IF_ERROR(ValidateOperatorName(name));
  CUPEL_RETURN_IF_ERROR(ValidateTenantName(tenant));
  const std::string path = absl::StrCat(dir, "/", name);
  CUPEL_RETURN_IF_ERROR(
      CheckFree(path, "choose another name, or move it away first"));
  CUPEL_ASSIGN_OR_RETURN(const crypto::Owned<X509> ca,
                         ReadCertificate(absl::StrCat(dir, "/", kCaFolder, "/",
                                                      kCertificateFile)));
  CUPEL_ASSIGN_OR_RETURN(const KeyPair client_ca, ReadCa(dir, kClientCaFolder));
  CUPEL_ASSIGN_OR_RETURN(
      const KeyPair client,
      MakeLeaf(client_ca, CertificateUse::kClient, OperatorNames(tenant, role),
               For(lifetimes.leaf, now)));
  CUPEL_ASSIGN_OR_RETURN(NewFolder folder, NewFolder::Create(path));
  CUPEL_RETURN_IF_ERROR(
      WritePair(folder / ".", client, ca.get(), std::nullopt));
  return folder.MoveTo(path);
}

absl::StatusOr<std::vector<Renewed>> RenewPki(const std::string& dir,
                                              absl::Time now,
                                              const Lifetimes& lifetimes) {
  CUPEL_ASSIGN_OR_RETURN(const KeyPair ca, ReadCa(dir, kCaFolder));
  CUPEL_ASSIGN_OR_RETURN(const KeyPair client_ca, ReadCa(dir, kClientCaFolder));
  CUPEL_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                         LeafFolders(dir));
  std::vector<Renewed> all;
  for (const std::string& name : names) {
    const std::string path = absl::StrCat(dir, "/", name);
    const bool is_server = name == kServerFolder;
    auto renewed =
        RenewLeaf(path, is_server ? ca : client_ca,
                  is_server ? CertificateUse::kServer : CertificateUse::kClient,
                  is_server ? nullptr : ca.certificate.get(), now, lifetimes);
    if (!renewed.ok()) {
      return WithContext(renewed.status(), EscapeForDisplay(path));
    }
    all.push_back(*std::move(renewed));
  }
  return all;
}

}  // namespace cupel::verifier
