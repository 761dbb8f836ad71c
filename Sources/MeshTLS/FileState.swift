import Glibc

/// What tells one version of a file from the next.
struct FileState: Sendable, Hashable {
  private let device: dev_t
  private let inode: ino_t
  private let size: off_t
  private let seconds: Int
  private let nanoseconds: Int

  /// nil: there is none.
  init?(_ path: String) {
    var facts = stat()
    guard stat(path, &facts) == 0 else { return nil }
    device = facts.st_dev
    inode = facts.st_ino
    size = facts.st_size
    seconds = facts.st_mtim.tv_sec
    nanoseconds = facts.st_mtim.tv_nsec
  }
}

extension CertificatePaths {
  var fileStates: [FileState?] { [certificate, key, trustRoots].map { $0.flatMap(FileState.init) } }
}

/// Certificates and keys are small; what is larger is something else.
private let maximumByteCount = 1 << 20

func contents(of path: String) throws(CertificateError) -> [UInt8] {
  let descriptor = open(path, O_RDONLY | O_CLOEXEC)
  guard descriptor >= 0 else {
    throw CertificateError("cannot open \(path): \(String(cString: strerror(errno)))")
  }
  defer { close(descriptor) }
  var bytes: [UInt8] = []
  var chunk = [UInt8](repeating: 0, count: 16 << 10)
  while true {
    let count = read(descriptor, &chunk, chunk.count)
    if count < 0, errno == EINTR { continue }
    guard count >= 0 else { throw CertificateError("cannot read \(path): \(String(cString: strerror(errno)))") }
    if count == 0 { return bytes }
    bytes += chunk[..<count]
    guard bytes.count <= maximumByteCount else {
      throw CertificateError("\(path) is larger than \(maximumByteCount) bytes: it holds no certificate or key")
    }
  }
}
