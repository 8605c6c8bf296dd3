"""Kernel-based distillation: adder layers beside the convolutions of another network."""

import torch


def test_the_kernel_teacher_gets_no_gradient_from_the_student(course_of, adder_student, batch):
    course = course_of("pkkd", student=adder_student.eval())
    terms = course.terms(batch)
    teacher_labels = terms.pop("teacher_labels")
    assert set(terms) == {"labels", "teacher", "layers"}
    torch.stack(list(terms.values())).sum().backward()
    student, teacher = course.networks
    assert all(each.grad is None for each in teacher.parameters())
    assert all(each.grad is not None for each in student.parameters())
    teacher_labels.backward()
    assert all(each.grad is not None for each in teacher.parameters())


def test_kernels_compare_an_adder_layer_with_the_convolution_in_its_place(
    course_of, adder_student, batch
):
    """The layer before and the adder are taught by it; nothing after is."""
    course = course_of("pkkd", student=adder_student.eval())
    course.terms(batch)["layers"].backward()
    student, _ = course.networks
    reached = {name for name, each in student.named_parameters() if each.grad is not None}
    assert reached == {"0.weight", "1.weight", "1.bias", "3.weight"}
    assert all(each.grad is not None for kernel in course.extras for each in kernel.parameters())


def test_kernels_are_the_exponentials_of_what_their_layers_give(course_of, adder_student, batch):
    """Before their linear layer both are exp(output / its mean size), the exponent at most 5: at
    most 1 for an adder.
    """
    course = course_of("pkkd", student=adder_student.eval())
    seen = {}
    for name, kernel in zip(("adder", "conv"), course.extras, strict=True):
        kernel.linear.register_forward_pre_hook(
            lambda _, inputs, name=name: seen.__setitem__(name, inputs[0])
        )
    course.terms(batch)
    student, teacher = course.networks
    images = batch.images
    for name, network in (("adder", student), ("conv", teacher)):
        with torch.no_grad():
            before = network.get_submodule("1")(network.get_submodule("0")(images)).relu()
            output = network.get_submodule("3")(before)
        expected = (output / output.abs().mean()).clamp_max(5).exp()
        torch.testing.assert_close(seen[name], expected, rtol=0.1, atol=0.05)
    assert bool((seen["adder"] <= 1).all())


def test_without_adder_layers_the_student_learns_from_the_logits(course_of, batch):
    course = course_of("pkkd")
    assert "layers" not in course.terms(batch)
    assert not course.extras
