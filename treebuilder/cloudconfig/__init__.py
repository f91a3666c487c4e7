"""Cloud-config files: stages of steps of modules, as yip reads them (os-and-ota.md §6).

`config` reads files, `stages` runs a stage, `modules` lists what a step can do and in which order, `command` is `yip`.
Runs on a device with nothing but Python and PyYAML (jinja2 only for texts with `{{`).
"""
