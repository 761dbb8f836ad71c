import Glibc
import LinuxDevices

/// Programs and rights that the plugins need.
struct ProgramChecks: Sendable {
  let disks: Check.Outcome

  func run() -> [Check] {
    [
      program(
        "qemu-storage-daemon", lacking: disks, cost: "this host's disks cannot be used on other hosts",
        package: "qemu-storage-daemon"),
      KernelChecks.carriesDisks
        ? program(
          "nbdfuse", lacking: .warn, cost: "this host can use disks of other hosts only while its kernel has nbd",
          package: "libnbd-bin")
        : program(
          "nbdfuse", lacking: disks, cost: "this host cannot use disks of other hosts", package: "libnbd-bin"),
      Self.rights.check(),
    ]
  }

  private func program(_ name: String, lacking: Check.Outcome, cost: String, package: String) -> Check {
    guard let path = ChildProcess.path(of: name) else {
      return Check(
        name: name, outcome: lacking, found: "not found along PATH", cost: cost,
        advice: "install it: package \(package)")
    }
    guard let version = Self.firstLine(of: name + " --version") else {
      return Check(
        name: name, outcome: lacking, found: "\(path) does not say its version", cost: cost,
        advice: "try `\(name) --version`, and install it anew: package \(package)")
    }
    return .ok(name, "\(version) (\(path))")
  }

  /// Nil when the command fails or says nothing.
  static func firstLine(of command: String) -> String? {
    guard let pipe = popen(command + " 2>/dev/null", "r") else { return nil }
    var line = ""
    var buffer = [CChar](repeating: 0, count: 512)
    // To the end: a program that cannot write all it has to say fails.
    while fgets(&buffer, CInt(buffer.count), pipe) != nil {
      guard line.isEmpty else { continue }
      line = String(decoding: buffer.prefix { $0 != 0 && $0 != 10 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
    return pclose(pipe) == 0 && !line.isEmpty ? line : nil
  }

  /// The numbers of capabilities(7).
  private static let capabilities: [(name: String, bit: UInt64)] = [("CAP_NET_ADMIN", 12), ("CAP_SYS_ADMIN", 21)]

  private static let rights = Probe(
    name: "permissions", lacking: .fail, cost: "the agent can set up nothing", advice: "run as root, as the agent does",
    attempt: {
      let status = SmallFile.text("/proc/self/status") ?? ""
      let line = status.split(separator: "\n").first { $0.hasPrefix("CapEff:") }
      let held = line.flatMap { UInt64($0.dropFirst(7).filter { !$0.isWhitespace }, radix: 16) } ?? 0
      let lacking = capabilities.filter { held & (1 << $0.bit) == 0 }.map(\.name)
      guard lacking.isEmpty else {
        throw Lacking(description: "this process lacks \(lacking.joined(separator: " and "))")
      }
      return geteuid() == 0 ? "root" : "user \(geteuid()), with what it takes"
    })

  private struct Lacking: Error, CustomStringConvertible {
    let description: String
  }
}
