/// A box with slots that tells what they hold (the kernel's class "enclosure", which its driver `ses` makes).
public struct Enclosure: Sendable, Hashable {
  /// "2:0:9:0", of the enclosure's processor, until the next boot.
  public var address: String
  public var identifier: SASAddress?
  /// Sorted by number, then by name.
  public var slots: [EnclosureSlot]
}

public struct EnclosureSlot: Sendable, Hashable {
  /// As the enclosure calls it: "Slot 01", "ArrayDevice03".
  public var name: String
  /// Nil: a kernel before 4.0, or an enclosure that counts none.
  public var number: UInt32?
  /// "2:0:1:0" of what is in it; nil: it is empty, or the kernel does not know.
  public var unitAddress: String?
  /// "OK", "not installed", "critical".
  public var status: String?
  /// Lamps; nil: the enclosure does not tell.
  public var isLocating: Bool?
  public var isFaulty: Bool?
}

extension Sysfs {
  public func enclosures() -> [Enclosure] {
    names(in: "class/enclosure").map { name in
      let node = "class/enclosure/\(name)"
      let slots = names(in: node).compactMap { slot("\(node)/\($0)", $0) }
      return Enclosure(
        address: name, identifier: SASAddress(text("\(node)/id") ?? ""),
        slots: slots.sorted { ($0.number ?? .max, $0.name) < ($1.number ?? .max, $1.name) })
    }
  }

  private func slot(_ node: String, _ name: String) -> EnclosureSlot? {
    // Fans, supplies and sensors are components as well.
    guard let type = text("\(node)/type"), type == "device" || type == "array device" else { return nil }
    return EnclosureSlot(
      name: name, number: integer("\(node)/slot"), unitAddress: linkName("\(node)/device"),
      status: text("\(node)/status"), isLocating: lamp("\(node)/locate"), isFaulty: lamp("\(node)/fault"))
  }

  private func lamp(_ path: String) -> Bool? { integer(path, as: UInt32.self).map { $0 != 0 } }
}
