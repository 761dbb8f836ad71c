/// A name of a logical unit, of a port, or of the device around them (page 0x83; SPC-4, 7.8.6).
public struct Designator: Sendable, Hashable {
  public enum Subject: UInt8, Sendable, Hashable { case logicalUnit, targetPort, targetDevice, reserved }

  public enum Value: Sendable, Hashable {
    case vendorSpecific([UInt8])
    /// Eight characters of the maker's name and what it likes.
    case t10(String)
    /// 8, 12 or 16 bytes.
    case eui64([UInt8])
    /// 8 bytes, or 16 of form 6.
    case naa([UInt8])
    case relativeTargetPort(UInt16)
    case targetPortGroup(UInt16)
    case logicalUnitGroup(UInt16)
    case md5([UInt8])
    /// "naa.…", "eui.…", or an iSCSI name.
    case scsiName(String)
    case uuid([UInt8])
    case other(type: UInt8, [UInt8])
  }

  public var subject: Subject
  /// 6: SAS, 5: iSCSI, 0: Fibre Channel; nil: it does not say.
  public var protocolIdentifier: UInt8?
  public var value: Value
}

/// All names in the page.
public struct DeviceIdentification: Sendable, Hashable {
  public var designators: [Designator]

  public init(designators: [Designator]) { self.designators = designators }

  init(_ page: AnswerBytes) throws(MalformedAnswer) {
    designators = []
    var offset = 4
    // One that is cut off is left out: devices say more than fits their own buffer.
    while offset + 4 <= page.count, let bytes = try? page.part(offset + 4, Int(try page.byte(offset + 3))) {
      let (head, flags) = (try page.byte(offset), try page.byte(offset + 1))
      designators.append(
        Designator(
          subject: Designator.Subject(rawValue: flags >> 4 & 0x3) ?? .reserved,
          protocolIdentifier: flags & 0x80 != 0 ? head >> 4 : nil,
          value: try Designator.Value(type: flags & 0xf, bytes)))
      offset += 4 + bytes.count
    }
  }

  /// By what the logical unit is known on every path and host, best first: a name that is unique in the world, then what the
  /// maker says of it. A name in bytes beats one in characters, as it has one spelling.
  public var logicalUnitIdentity: DiskName? {
    names(of: .logicalUnit).min { $0.rank < $1.rank }
  }

  /// The SAS or NAA names of the port that this path leads to.
  public var targetPortNames: [DiskName] { names(of: .targetPort) }

  /// Which of the device's ports this path leads to.
  public var relativeTargetPort: UInt16? {
    designators.lazy.compactMap { if case .relativeTargetPort(let port) = $0.value { port } else { nil } }.first
  }

  public var targetPortGroup: UInt16? {
    designators.lazy.compactMap { if case .targetPortGroup(let group) = $0.value { group } else { nil } }.first
  }

  private func names(of subject: Designator.Subject) -> [DiskName] {
    designators.filter { $0.subject == subject }.compactMap { DiskName($0.value) }
  }
}

/// A name of a disk that does not depend on where it is plugged in.
public struct DiskName: Sendable, Hashable, CustomStringConvertible {
  /// Best first: names registered with IEEE (16 bytes tell a logical unit, 8 perhaps only the device), then UUIDs, names
  /// in characters, and what the maker made up.
  public enum Rank: Int, Sendable, Hashable, Comparable {
    case naaExtended, naaRegistered, eui64, uuid, scsiName, t10, naaLocal, serialNumber

    public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
  }

  public var rank: Rank
  /// As the kernel writes it in sysfs: "naa.5000c50011110010", "eui.0025385b71b00b0a", "t10.ATA …".
  public var text: String

  public init(rank: Rank, text: String) {
    self.rank = rank
    self.text = text
  }

  public var description: String { text }

  init?(_ value: Designator.Value) {
    switch value {
    case .naa(let bytes):
      // Zeros are what firmware has that nobody gave a name.
      guard let form = bytes.first.map({ $0 >> 4 }), bytes.dropFirst().contains(where: { $0 != 0 }) else { return nil }
      let text = "naa." + AnswerBytes(bytes).hexadecimalText
      switch (form, bytes.count) {
      case (6, 16): self.init(rank: .naaExtended, text: text)
      case (5, 8), (2, 8): self.init(rank: .naaRegistered, text: text)
      case (3, 8): self.init(rank: .naaLocal, text: text)
      default: return nil
      }
    case .eui64(let bytes) where [8, 12, 16].contains(bytes.count) && bytes.contains { $0 != 0 }:
      self.init(rank: .eui64, text: "eui." + AnswerBytes(bytes).hexadecimalText)
    case .uuid(let bytes) where bytes.count == 16 && bytes.contains { $0 != 0 }:
      self.init(rank: .uuid, text: "uuid." + Self.uuid(bytes))
    case .scsiName(let name) where !name.isEmpty: self.init(rank: .scsiName, text: name)
    case .t10(let name) where name.utf8.count > 8: self.init(rank: .t10, text: "t10." + name)
    default: return nil
    }
  }

  static func uuid(_ bytes: [UInt8]) -> String {
    let digits = AnswerBytes(bytes).hexadecimalText
    var groups: [Substring] = []
    var rest = digits[...]
    for length in [8, 4, 4, 4, 12] {
      groups.append(rest.prefix(length))
      rest = rest.dropFirst(length)
    }
    return groups.joined(separator: "-")
  }
}

extension Designator.Value {
  fileprivate init(type: UInt8, _ bytes: AnswerBytes) throws(MalformedAnswer) {
    let array = Array(bytes.bytes)
    switch type {
    case 0: self = .vendorSpecific(array)
    case 1: self = .t10(try bytes.text(0, bytes.count))
    case 2: self = .eui64(array)
    case 3: self = .naa(array)
    case 4 where bytes.count >= 4: self = .relativeTargetPort(try bytes.bigEndian(2))
    case 5 where bytes.count >= 4: self = .targetPortGroup(try bytes.bigEndian(2))
    case 6 where bytes.count >= 4: self = .logicalUnitGroup(try bytes.bigEndian(2))
    case 7: self = .md5(array)
    case 8: self = .scsiName(try bytes.text(0, bytes.count))
    // Two bytes say what form the UUID has.
    case 10 where bytes.count == 18: self = .uuid(Array(array.dropFirst(2)))
    default: self = .other(type: type, array)
    }
  }
}
