import FunctionPluginKit
import Glibc
import LinuxDevices
import Services

/// A disk's map of extents, durable: what it says survives a crash at any point, and a damaged one is never guessed at.
///
/// The file is text, for people who must look at it:
///
///     iov extents 1
///     disk sata/serial 1073741824
///     extent 0 67108864 sata/serial/17
///     end 9c2e1f…
///
/// A disk with a file is ours: signatures of file systems on it are its tenants'.
struct ExtentTable: Sendable {
  let path: String
  let endNode: String
  private(set) var map: ExtentMap

  /// The table of an end node in a directory; nil if the disk has none yet.
  ///
  /// - Parameter diskSizeBytes: what the disk has now; nil: it is not here to be asked.
  static func load(directory: String, endNode: String, diskSizeBytes: UInt64?) throws -> ExtentTable? {
    let path = Self.path(directory, endNode)
    // What a process left that was killed while it wrote: never acted on.
    try SmallFile.remove(SmallFile.temporary(path))
    guard access(path, F_OK) == 0 else {
      guard errno == ENOENT else { throw SystemCallError("look for \(path)", errno: errno) }
      return nil
    }
    let text = String(decoding: try SmallFile.read(path), as: UTF8.self)
    let map = try parse(text, path: path, endNode: endNode, diskSizeBytes: diskSizeBytes)
    return ExtentTable(path: path, endNode: endNode, map: map)
  }

  /// Of a disk that is about to be taken into use, which it is with its first extent: a refusal leaves it somebody else's.
  static func first(directory: String, endNode: String, diskSizeBytes: UInt64) -> ExtentTable {
    ExtentTable(path: path(directory, endNode), endNode: endNode, map: ExtentMap(diskSizeBytes: diskSizeBytes))
  }

  /// Gives a function an extent, or answers the one it has. Durable when it returns.
  ///
  /// - Parameters:
  ///   - place: where the coordinator knows it to lie: there or nowhere.
  ///   - reserved: where it knows others to lie that have no extent here, as in a table of yesterday.
  mutating func allocate(
    function: String, sizeBytes: UInt64, place: Extent? = nil, besides reserved: [Extent] = []
  ) throws -> AllocatedExtent {
    if let extent = map[function] {
      guard extent.sizeBytes == sizeBytes else {
        throw PluginError(
          .invalidArgument, "\(function) has an extent of \(extent.sizeBytes) bytes; it cannot become \(sizeBytes)")
      }
      try check(extent, against: place)
      return extent
    }
    var changed = map
    if let place {
      guard
        let extent = changed.allocate(function: function, at: place.offsetBytes, sizeBytes: place.sizeBytes),
        place.sizeBytes == sizeBytes
      else { throw disagreement(map.overlapping(place), place) }
      try save(changed)
      map = changed
      return extent
    }
    guard let extent = changed.allocate(function: function, sizeBytes: sizeBytes, besides: reserved) else {
      throw PluginError(
        .resourceExhausted,
        "\(endNode) has no gap of \(sizeBytes) bytes; the largest is \(map.largestFreeBytes) of \(map.diskSizeBytes)")
    }
    try save(changed)
    map = changed
    return extent
  }

  /// - Parameter place: where the coordinator knows the extent to lie, if it does.
  func check(_ extent: AllocatedExtent, against place: Extent?) throws {
    if let place, extent.place != place { throw disagreement(extent, place) }
  }

  /// Two memories of who has what, and nobody can tell which one is right: nothing is written.
  private func disagreement(_ here: AllocatedExtent?, _ place: Extent) -> PluginError {
    let found = here.map { "\($0.function) at byte \($0.offsetBytes), \($0.sizeBytes) long" } ?? "no room for it"
    return PluginError(
      .dataLoss,
      "the coordinator knows the function at byte \(place.offsetBytes) of \(endNode), \(place.sizeBytes) long, and \(path) has "
        + "\(found) there. Nothing was changed. Find out which one is right: restore the other from a backup")
  }

  /// Takes a function's extent back. Durable when it returns.
  mutating func release(function: String) throws {
    guard map[function] != nil else { return }
    var changed = map
    changed.release(function: function)
    try save(changed)
    map = changed
  }

  static func exists(directory: String, endNode: String) -> Bool { access(path(directory, endNode), F_OK) == 0 }

  /// What the disk was is gone, and nothing is ever called so again.
  static func remove(directory: String, endNode: String) throws {
    try SmallFile.remove(path(directory, endNode))
  }

  // MARK: The file

  static func path(_ directory: String, _ endNode: String) -> String {
    directory + "/" + endNode.map { $0 == "/" ? "_" : String($0) }.joined() + ".extents"
  }

  private func save(_ map: ExtentMap) throws {
    var text = "iov extents 1\ndisk \(endNode) \(map.diskSizeBytes)\n"
    for extent in map.extents { text += "extent \(extent.offsetBytes) \(extent.sizeBytes) \(extent.function)\n" }
    if let end = path.lastIndex(of: "/") { try SmallFile.makeDirectory(String(path[..<end])) }
    text += "end \(StableDigest.hexadecimal(text))\n"
    try SmallFile.replace(path, with: Array(text.utf8))
  }

  private static func parse(_ text: String, path: String, endNode: String, diskSizeBytes: UInt64?) throws -> ExtentMap {
    func damaged(_ what: String) -> PluginError {
      PluginError(
        .dataLoss,
        "\(path) is damaged (\(what)), so nobody knows which part of the disk belongs to whom. Restore it from a backup; "
          + "if no function of this disk is in use and its data may be lost, remove the file.")
    }
    guard let end = text.range(ofLast: "end ") else { throw damaged("its end is missing") }
    guard text[end...] == "end \(StableDigest.hexadecimal(String(text[..<end])))\n" else {
      throw damaged("its checksum is wrong")
    }
    var lines = text[..<end].split(separator: "\n").map { $0.split(separator: " ") }[...]
    guard lines.popFirst() == ["iov", "extents", "1"] else { throw damaged("it is of an unknown version") }
    guard let disk = lines.popFirst(), disk.count == 3, disk[0] == "disk", let size = UInt64(disk[2]) else {
      throw damaged("it names no disk")
    }
    guard disk[1] == endNode else { throw damaged("it belongs to \(disk[1])") }
    if let diskSizeBytes, size != diskSizeBytes {
      throw PluginError(
        .failedPrecondition,
        "\(endNode) had \(size) bytes when it was taken into use and has \(diskSizeBytes) now: is it the same disk? \(path) says what is on it."
      )
    }
    var extents: [AllocatedExtent] = []
    for line in lines {
      guard line.count == 4, line[0] == "extent", let offset = UInt64(line[1]), let size = UInt64(line[2]) else {
        throw damaged("'\(line.joined(separator: " "))' is no extent")
      }
      extents.append(AllocatedExtent(function: String(line[3]), offsetBytes: offset, sizeBytes: size))
    }
    guard let map = ExtentMap(diskSizeBytes: size, extents: extents) else { throw damaged("extents overlap") }
    return map
  }
}

extension String {
  /// Where the last line that begins with `prefix` starts.
  fileprivate func range(ofLast prefix: String) -> String.Index? {
    guard let last = split(separator: "\n").last, last.hasPrefix(prefix) else { return nil }
    return last.startIndex
  }
}
