"""The page of iddpm watch, in headless Chromium (Debian's package, which `make interop` installs)."""

import json
import re
import shutil
import subprocess

import pytest
from PIL import Image
from playwright.sync_api import expect, sync_playwright

expect.set_options(timeout=60_000)

CONFIG = {"model": {"image_size": 8}, "train": {"batch_size": 4, "steps": 100, "lr": 1e-4, "log_interval": 10}}


def make_run(folder, rows, lr=1e-4, grids=()):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG | {"train": CONFIG["train"] | {"lr": lr}}))
    append(folder, rows)
    for step in grids:
        add_grid(folder, step)
    return folder


def append(folder, rows):
    with open(folder / "log.jsonl", "a") as log:
        log.writelines(json.dumps(row) + "\n" for row in rows)


def add_grid(folder, step):
    (folder / "samples").mkdir(exist_ok=True)
    Image.new("RGB", (16, 16), (step, 0, 0)).save(folder / f"samples/step-{step:06}.png")


def rows(first, last):
    return [{"step": i, "loss": 1 / i, "loss_q0": 2 / i, "loss_q3": 0.5 / i, "lr": 1e-4, "images_per_second": 8.0, "unusual": i} for i in range(first, last + 1)]


@pytest.fixture(scope="module")
def browser():
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    assert chromium, "chromium is missing: make interop installs it"
    with sync_playwright() as p:
        b = p.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield b
        b.close()


@pytest.fixture
def runs(tmp_path):
    return [make_run(tmp_path / "001-one", rows(1, 20), grids=(5, 10, 20)), make_run(tmp_path / "002-two", rows(1, 5), lr=3e-4)]


@pytest.fixture
def address(runs, iddpm_program):
    server = subprocess.Popen([iddpm_program, "watch", runs[0].parent, "--addr", "127.0.0.1:0"], stderr=subprocess.PIPE, text=True)
    line = next(line for line in server.stderr if "watching" in line)
    yield re.search(r'"page": "([^"]+)"', line)[1]
    server.terminate()
    assert server.wait(20) == 0


def open_page(browser, address, **context):
    page = browser.new_context(**context).new_page()
    page.set_default_timeout(60_000)
    page.problems = []
    page.on("console", lambda m: m.type in ("error", "warning") and page.problems.append(m.text))
    page.on("pageerror", lambda e: page.problems.append(str(e)))
    page.goto(address)
    page.wait_for_selector("body[data-ready]")
    return page


def chart(page, title):
    return page.locator(f'.chart[data-title="{title}"]')


def test_shows_what_the_log_holds(browser, address, runs):
    page = open_page(browser, address)
    label = re.compile(r"001-one: 20 points, 0\.05 at step 20; \S*002-two: 5 points, 0\.2 at step 5")
    expect(chart(page, "loss")).to_have_attribute("aria-label", label)
    expect(chart(page, "loss by quartile of the timestep")).to_have_attribute("aria-label", re.compile(r"loss_q0: 20 points, 0\.1 at step 20; .*loss_q3: 20 points, 0\.025"))
    assert chart(page, "loss").locator("canvas").count() == 1
    expect(chart(page, "FID")).to_be_hidden()
    page.get_by_text("More metrics").click()
    expect(chart(page, "unusual")).to_be_visible()
    row = page.locator("#runs tbody tr").first
    expect(row).to_contain_text("20 of 100")
    expect(row).to_contain_text("40 s")  # 80 steps of 4 images, 8 a second
    expect(page.locator("#differences")).to_contain_text("train.lr")
    expect(page.locator("#differences")).to_contain_text("0.0003")
    assert page.problems == []


def test_a_growing_run_moves_on(browser, address, runs):
    page = open_page(browser, address)
    append(runs[0], rows(21, 40))
    add_grid(runs[0], 40)
    expect(chart(page, "loss")).to_have_attribute("aria-label", re.compile(r"40 points, 0\.025 at step 40"))
    expect(page.locator("figcaption")).to_contain_text("step 40")
    make_run(runs[0].parent / "003-three", rows(1, 2))
    expect(page.locator("#runs tbody tr")).to_have_count(3)
    assert page.problems == []


def test_the_slider_moves(browser, address, runs):
    page = open_page(browser, address)
    caption, image = page.locator("figcaption"), page.locator("figure img")
    expect(caption).to_contain_text("step 20")
    page.get_by_role("slider", name=re.compile("step of the samples")).focus()
    page.keyboard.press("ArrowLeft")
    expect(caption).to_contain_text("step 10")
    expect(image).to_have_attribute("src", re.compile("step-000010.png"))
    expect(image).to_have_js_property("naturalWidth", 16)
    add_grid(runs[0], 60)  # the chosen step stays
    expect(page.locator("figure input")).to_have_js_property("max", "3")
    expect(caption).to_contain_text("step 10")


def test_keyboard(browser, address, runs):
    page = open_page(browser, address)
    box = page.get_by_role("checkbox", name=re.compile("show .*002-two"))
    for _ in range(10):
        page.keyboard.press("Tab")
        if box.evaluate("e => e === document.activeElement"):
            break
    page.keyboard.press("Space")
    expect(chart(page, "loss")).to_have_attribute("aria-label", re.compile(r"^loss; \S*001-one[^;]*$"))
    assert box.evaluate("e => e === document.activeElement"), "the focus was lost"


@pytest.mark.parametrize("scheme, bright", [("dark", False), ("light", True)])
def test_phone_dark_and_light(browser, address, runs, scheme, bright):
    page = open_page(browser, address, viewport={"width": 360, "height": 740}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    red = int(re.search(r"\d+", page.evaluate("getComputedStyle(document.body).backgroundColor"))[0])
    assert (red > 128) == bright
    assert page.problems == []


def test_names_are_text(browser, address, runs):
    page = open_page(browser, address)
    make_run(runs[0].parent / "<img src=x onerror=alert(1)>", [{"step": 1, "<b>x</b>": 1}])
    expect(page.locator("#runs tbody tr")).to_have_count(3)
    assert page.locator("#runs img, #runs b").count() == 0
    assert page.problems == []
