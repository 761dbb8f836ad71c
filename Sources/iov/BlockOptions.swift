import ArgumentParser
import Quantities
import Services

/// What a claim can say of a disk's function.
struct BlockOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Size of a disk function, such as 64MiB or 10GB; default: a whole disk that nobody uses.", valueName: "size"))
  var size: ByteCount?
  @Flag(help: "Make a disk function read-only.") var readOnly = false
  @OptionGroup var limits: BlockLimitOptions
  @Option(
    help: ArgumentHelp(
      "Operations per second that the disk keeps free for it, reads and writes together.", valueName: "number"))
  var minIops: UInt64?
  @Option(help: ArgumentHelp("Bytes per second that the disk keeps free for it.", valueName: "rate"))
  var minBytes: ByteRate?

  var attributes: BlockAttributes {
    BlockAttributes {
      $0.sizeBytes = size?.bytes
      $0.readOnly = readOnly ? true : nil
      $0.maxReadOperationsPerSecond = limits.maxReadIops
      $0.maxWriteOperationsPerSecond = limits.maxWriteIops
      $0.maxReadBytesPerSecond = limits.maxReadBytes?.bytesPerSecond
      $0.maxWriteBytesPerSecond = limits.maxWriteBytes?.bytesPerSecond
      $0.burstFactor = limits.burstFactor
      $0.burstSeconds = limits.burstSeconds
      $0.minOperationsPerSecond = minIops
      $0.minBytesPerSecond = minBytes?.bytesPerSecond
    }
  }
}

/// What can be changed while a disk's function is in use.
struct BlockLimitOptions: ParsableArguments {
  @Option(help: ArgumentHelp("Most reads in a second.", valueName: "number")) var maxReadIops: UInt64?
  @Option(help: ArgumentHelp("Most writes in a second.", valueName: "number")) var maxWriteIops: UInt64?
  @Option(help: ArgumentHelp("Most bytes read in a second, such as 100MB or 64MiB.", valueName: "rate"))
  var maxReadBytes: ByteRate?
  @Option(help: ArgumentHelp("Most bytes written in a second.", valueName: "rate")) var maxWriteBytes: ByteRate?
  @Option(
    help: ArgumentHelp("After a rest, so many times each of these limits may be reached.", valueName: "factor"))
  var burstFactor: UInt32?
  @Option(help: ArgumentHelp("And for so many seconds at most; default: 1.", valueName: "seconds"))
  var burstSeconds: UInt32?

  var isEmpty: Bool {
    [maxReadIops, maxWriteIops, maxReadBytes?.bytesPerSecond, maxWriteBytes?.bytesPerSecond].allSatisfy { $0 == nil }
      && burstFactor == nil && burstSeconds == nil
  }
}

extension BlockAttributes {
  var details: [[String]] {
    func rate(_ value: UInt64?) -> String? { value.flatMap { $0 > 0 ? "\(formatByteCount($0))/s" : nil } }
    func operations(_ value: UInt64?) -> String? { value.flatMap { $0 > 0 ? "\($0)/s" : nil } }
    let burst = burstFactor.map { "\($0) times the limits for \(burstSeconds ?? 1) s" }
    let rows: [(String, String?)] = [
      ("Size", sizeBytes.map(formatByteCount)), ("Read-only", readOnly.map { $0 ? "yes" : "no" }),
      ("Max reads", operations(maxReadOperationsPerSecond)), ("Max writes", operations(maxWriteOperationsPerSecond)),
      ("Max read rate", rate(maxReadBytesPerSecond)), ("Max write rate", rate(maxWriteBytesPerSecond)),
      ("Burst", burst),
      ("Min operations", operations(minOperationsPerSecond)), ("Min rate", rate(minBytesPerSecond)),
      ("Limits", rateGuarantee == .bestEffort ? "best effort" : nil),
    ]
    return rows.compactMap { name, value in value.map { [name, $0] } }
  }
}

extension Extent {
  var words: String { "\(formatByteCount(sizeBytes)) at \(offsetBytes == 0 ? "0" : formatByteCount(offsetBytes))" }
}

extension Rack {
  /// What lies where on a disk, gaps and all; empty where nobody has said so.
  func geometry(of node: EndNode) -> [[String]] {
    let parts = functions.compactMap { function -> (extent: Extent, assignment: Assignment)? in
      guard let assignment = function.assignment, assignment.endNode == node.id, let extent = assignment.extent else {
        return nil
      }
      return (extent, assignment)
    }
    guard !parts.isEmpty else { return [] }
    var rows: [[String]] = []
    var end: UInt64 = 0
    func addGap(upTo start: UInt64) {
      guard start > end else { return }
      rows.append([end == 0 ? "0" : formatByteCount(end), formatByteCount(start - end), "free", "", ""])
    }
    for part in parts.sorted(by: { $0.extent.offsetBytes < $1.extent.offsetBytes }) {
      addGap(upTo: part.extent.offsetBytes)
      rows.append([
        part.extent.offsetBytes == 0 ? "0" : formatByteCount(part.extent.offsetBytes),
        formatByteCount(part.extent.sizeBytes), part.assignment.function, part.assignment.claim, part.assignment.host,
      ])
      end = max(end, part.extent.offsetBytes &+ part.extent.sizeBytes)
    }
    addGap(upTo: node.capacity?.sizeBytes ?? 0)
    return rows
  }

  /// The functions of an end node by what takes them down together, where that is more than one.
  func fenceDomains(of node: EndNode) -> [[String]] {
    guard node.capabilities?.multiRoot ?? false else { return [] }
    let assignments = functions.compactMap(\.assignment).filter { $0.endNode == node.id }
    return Dictionary(grouping: assignments, by: \.fenceDomain).sorted { $0.key < $1.key }.map { domain, assignments in
      [domain, assignments.map(\.function).sorted().joined(separator: ", ")]
    }
  }

  /// The host that fences a function in the place of one that is lost.
  func fencer(of function: AssignedFunction?) -> String? {
    function?.reports.first { $0.status?.role == .fencer }.map { withState($0.host) }
  }
}
