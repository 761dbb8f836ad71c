import LinuxDevices

/// Remembers, durably, that a disk was or may have been seized for a function: one that the disk does not keep for it any more
/// was taken away, and is never seized again under the same token, however late this host hears of it.
struct SeizureMark: Sendable {
  private let path: String

  init(stateDirectory: String, function: String) {
    path = "\(stateDirectory)/seized/\(StableDigest.hexadecimal(function))"
  }

  var exists: Bool { SmallFile.text(path) != nil }

  func make(_ function: String) throws(SystemCallError) {
    if let directory = path.lastIndex(of: "/") { try SmallFile.makeDirectory(String(path[..<directory])) }
    try SmallFile.replace(path, with: Array("\(function)\n".utf8))
  }

  func remove() throws(SystemCallError) { try SmallFile.remove(path) }
}
