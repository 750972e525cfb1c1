#!/usr/bin/python3
"""org.freedesktop.systemd1 as far as a container runtime needs it: transient scopes that are really made in the
hierarchies that systemd manages, jobs, and a record of every call as one JSON line on stdout.

Usage: fake_systemd.py BUS_ADDRESS [fail|exists-once]"""
import json
import os
import sys

import dbus
import dbus.bus
import dbus.mainloop.glib
import dbus.service
from gi.repository import GLib

MANAGER = "org.freedesktop.systemd1.Manager"
ROOTS = [root for root in ("/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup")
         if os.path.exists(root + "/cgroup.procs")]


def plain(value):
    if isinstance(value, (dbus.Boolean, bool)):
        return bool(value)
    if isinstance(value, (dbus.Array, list, tuple, dbus.Struct)):
        return [plain(item) for item in value]
    if isinstance(value, int):
        return int(value)
    return str(value)


def record(call, **facts):
    print(json.dumps({"call": call, **facts}), flush=True)


class Unit(dbus.service.Object):
    def __init__(self, bus, path, group):
        super().__init__(bus, path)
        self.group = group

    @dbus.service.method("org.freedesktop.DBus.Properties", in_signature="ss", out_signature="v")
    def Get(self, interface, name):
        record("Get", interface=str(interface), name=str(name))
        return dbus.String(self.group)


class Manager(dbus.service.Object):
    def __init__(self, bus, mode):
        super().__init__(bus, "/org/freedesktop/systemd1")
        self.bus, self.mode, self.units, self.jobs, self.subscribed = bus, mode, {}, 0, False

    def job(self, unit, result="done"):
        self.jobs += 1
        path = f"/org/freedesktop/systemd1/job/{self.jobs}"
        # Another unit's job first: only ours may count.
        GLib.timeout_add(10, lambda: self.JobRemoved(99, "/other", "other.scope", "failed"))
        GLib.timeout_add(30, lambda: self.JobRemoved(self.jobs, path, unit, result))
        return dbus.ObjectPath(path)

    @dbus.service.signal(MANAGER, signature="uoss")
    def JobRemoved(self, number, job, unit, result):
        pass

    @dbus.service.method(MANAGER)
    def Subscribe(self):
        self.subscribed = True

    @dbus.service.method(MANAGER, in_signature="s")
    def ResetFailedUnit(self, name):
        record("ResetFailedUnit", unit=str(name))
        self.mode = ""

    @dbus.service.method(MANAGER, in_signature="ssa(sv)a(sa(sv))", out_signature="o")
    def StartTransientUnit(self, name, mode, properties, aux):
        values = {str(key): plain(value) for key, value in properties}
        record("StartTransientUnit", unit=str(name), mode=str(mode), properties=values, aux=plain(aux),
               subscribed=self.subscribed)
        if self.mode == "exists-once":
            raise dbus.DBusException("Unit exists already.", name="org.freedesktop.systemd1.UnitExists")
        if self.mode == "fail":
            return self.job(str(name), "failed")
        group = f"/{values['Slice']}/{name}"
        for root in ROOTS:
            os.makedirs(root + group, exist_ok=True)
            for pid in values["PIDs"]:
                with open(root + group + "/cgroup.procs", "w") as procs:
                    procs.write(str(pid))
        path = f"/org/freedesktop/systemd1/unit/u{self.jobs}"
        self.units[str(name)] = Unit(self.bus, path, group)
        return self.job(str(name))

    @dbus.service.method(MANAGER, in_signature="s", out_signature="o")
    def GetUnit(self, name):
        return dbus.ObjectPath(self.units[str(name)]._object_path)

    @dbus.service.method(MANAGER, in_signature="sba(sv)")
    def SetUnitProperties(self, name, runtime, properties):
        record("SetUnitProperties", unit=str(name), runtime=bool(runtime),
               properties={str(key): plain(value) for key, value in properties})

    @dbus.service.method(MANAGER, in_signature="ss", out_signature="o")
    def StopUnit(self, name, mode):
        record("StopUnit", unit=str(name), mode=str(mode))
        if str(name) not in self.units:
            raise dbus.DBusException("Unit not loaded.", name="org.freedesktop.systemd1.NoSuchUnit")
        self.units.pop(str(name)).remove_from_connection()
        return self.job(str(name))


if __name__ == "__main__":
    dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)
    connection = dbus.bus.BusConnection(sys.argv[1])
    service = dbus.service.BusName("org.freedesktop.systemd1", connection)
    manager = Manager(connection, sys.argv[2] if len(sys.argv) > 2 else "")
    record("ready")
    GLib.MainLoop().run()
