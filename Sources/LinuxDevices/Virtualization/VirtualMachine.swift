/// A running QEMU machine, to which functions are given and from which they are taken while it runs. Blocks.
///
/// QEMU only asks the guest to let a device go. That it is gone, and may be given to somebody else, is known when QEMU says
/// so, and not before.
public struct VirtualMachine: Sendable {
  var monitor: QMPConnection

  /// - Parameter monitor: a monitor of our own: two clients of one would take each other's events.
  public init(monitor: QMPConnection) { self.monitor = monitor }

  /// The ids of PCI Express ports that have nothing plugged in, sorted. A machine has as many as it was started with
  /// (`-device pcie-root-port`).
  public mutating func sparePorts() throws -> [String] {
    func ports(_ devices: [JSONValue]) -> [String] {
      devices.flatMap { device -> [String] in
        guard let bridge = device["pci_bridge"] else { return [] }
        let below = bridge["devices"]?.array ?? []
        guard below.isEmpty, let id = device["qdev_id"]?.string, !id.isEmpty else { return ports(below) }
        return [id]
      }
    }
    let buses = try monitor.execute("query-pci").array ?? []
    return buses.flatMap { ports($0["devices"]?.array ?? []) }.sorted()
  }

  /// Whether a device of this id is there, also while the guest is being asked to let it go.
  public mutating func has(_ id: String) throws -> Bool {
    let devices = try monitor.execute("qom-list", ["path": .string("/machine/peripheral")]).array ?? []
    return devices.contains { $0["name"]?.string == id }
  }

  /// Plugs a function that is bound to VFIO into a spare port. One that is plugged already under this id is left alone,
  /// if it is the same function.
  ///
  /// - Throws: `HotPlugError`, and what the monitor throws.
  public mutating func plug(_ function: PCIAddress, as id: String, into port: String) throws {
    if try !has(id) {
      try monitor.execute(
        "device_add",
        [
          "driver": .string("vfio-pci"), "host": .string(function.description), "id": .string(id),
          "bus": .string(port),
        ])
    }
    let host = try monitor.execute(
      "qom-get", ["path": .string("/machine/peripheral/\(id)"), "property": .string("host")])
    guard host.string.flatMap({ PCIAddress($0) }) == function else {
      throw HotPlugError.otherFunction(id: id, wanted: function, found: host.string ?? host.text)
    }
  }

  /// Asks the guest to let a device go and waits for QEMU's word that it is gone. A device that is not there is gone.
  ///
  /// - Parameter patience: a guest takes seconds: it presses a button that it may think about for five. Past it the
  ///   request stands, and the device may go at any later moment: ask again.
  /// - Throws: `HotPlugError.guestRefused` or `.guestSilent`: the machine has the device still.
  public mutating func unplug(_ id: String, patience: Duration = .seconds(30)) throws {
    let deadline = ContinuousClock.now + patience
    do {
      try monitor.execute("device_del", ["id": .string(id)])
    } catch QMPError.refused(_, let errorClass, let reason) {
      if errorClass == "DeviceNotFound" { return }
      // A request of ours from before is under way; what comes of it is waited for. QEMU has no class for it.
      guard reason.contains("in the process of unplug") else { throw HotPlugError.refused(id: id, reason: reason) }
    }
    do {
      let event = try monitor.waitForEvent(by: deadline, waitingFor: "DEVICE_DELETED of \(id)") {
        ["DEVICE_DELETED", "DEVICE_UNPLUG_GUEST_ERROR"].contains($0["event"]?.string)
          && $0["data"]?["device"]?.string == id
      }
      guard event["event"]?.string == "DEVICE_DELETED" else { throw HotPlugError.guestRefused(id: id) }
    } catch QMPError.late {
      // Its event may have gone to another client.
      guard try has(id) else { return }
      throw HotPlugError.guestSilent(id: id, patience: patience)
    }
    guard try !has(id) else { throw HotPlugError.guestSilent(id: id, patience: patience) }
  }
}

public enum HotPlugError: Error, Hashable, CustomStringConvertible {
  case otherFunction(id: String, wanted: PCIAddress, found: String)
  case refused(id: String, reason: String)
  case guestRefused(id: String)
  case guestSilent(id: String, patience: Duration)

  public var description: String {
    switch self {
    case .otherFunction(let id, let wanted, let found):
      "the machine has a device \(id) already, which is \(found) and not \(wanted): unplug it first"
    case .refused(let id, let reason): "the machine does not unplug \(id): \(reason)"
    case .guestRefused(let id):
      "the guest does not let \(id) go: something in it uses the device. Stop that, or shut the guest down"
    case .guestSilent(let id, let patience):
      "the guest has not let \(id) go within \(patience), and may still do so: a guest that is stopped, has not booted or "
        + "has no driver for hot plugging answers late or never. Ask again, or shut it down"
    }
  }
}

extension PCIAddress {
  /// The element that gives this function to a machine of libvirt's. Not `managed`: binding and restoring its driver is
  /// done already, and an `interface` element would make libvirt write MAC address and VLAN as well.
  public var libvirtElement: String {
    """
    <hostdev mode='subsystem' type='pci' managed='no'>
      <driver name='vfio'/>
      <source>
        <address domain='0x\(hexadecimal(domain, digits: 4))' bus='0x\(hexadecimal(bus, digits: 2))' \
    slot='0x\(hexadecimal(device, digits: 2))' function='0x\(function)'/>
      </source>
    </hostdev>
    """
  }
}
